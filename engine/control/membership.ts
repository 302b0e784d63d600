import { KeyedMutex } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Random } from '../../common/ports/index.ts';
import { epoch, hexOf, type NodeId } from '../blob/index.ts';
import { type ClusterMap, type MapNode, NODE_STATES, type NodeState, parseClusterMap } from '../placement/index.ts';
import type { Resource, ResourceStore } from './resource-store.ts';

const CLUSTER_KIND = 'cluster';
const MAP_ID = 'map';
const FIRST_STORE_KIND = 'first-store';
const MAX_WAITING = 8192;

export type Registration = Omit<MapNode, 'state' | 'weight'> & {
  /** 0: derived from the capacity. */
  readonly weight: number;
  /** '' when the node has never been part of a cluster. */
  readonly clusterId: string;
};

const TIB = 1024 ** 4;

/** One unit of weight per TiB; small devices (tests, one machine) count as one, or the ring would have a point or two. */
function weightOf(registration: Registration): number {
  if (registration.weight > 0) return registration.weight;
  return Math.min(1024, Math.max(1, Math.round((registration.capacityBytes ?? 0) / TIB)));
}

function sameNode(a: MapNode, b: MapNode): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** The cluster map as control keeps it: every change is a compare-and-swap in the resource store, then an announcement. */
export class Membership {
  readonly #store: ResourceStore;
  readonly #logger: Logger;
  readonly #changes = new KeyedMutex<string>({ name: 'cluster map', maxWaiters: MAX_WAITING });
  readonly #listeners = new Set<(map: ClusterMap) => void>();
  #resource: Resource;
  #map: ClusterMap;

  private constructor(store: ResourceStore, logger: Logger, resource: Resource) {
    this.#store = store;
    this.#logger = logger;
    this.#resource = resource;
    this.#map = parseClusterMap(resource.body, 'the stored cluster map');
  }

  /** Reads the map, or makes the first one with a new cluster id. */
  static async open(store: ResourceStore, random: Random, logger: Logger): Promise<Membership> {
    const found = await store.get(CLUSTER_KIND, MAP_ID);
    if (found !== undefined) return new Membership(store, logger, found);
    const body = { clusterId: hexOf(random.bytes(16)), epoch: 1, nodes: [] };
    const made = await store.put({ kind: CLUSTER_KIND, id: MAP_ID, name: null, expected: 0n, body });
    return new Membership(store, logger, made);
  }

  current(): ClusterMap {
    return this.#map;
  }

  onChange(listener: (map: ClusterMap) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Takes a node in, or notes where it is now. A node that was down is up again; draining and out stay what a person made
   * them. Throws DEVICE_FOREIGN for a node of another cluster.
   */
  async register(registration: Registration): Promise<ClusterMap> {
    const { clusterId, ...node } = registration;
    if (clusterId !== '' && clusterId !== this.#map.clusterId) {
      throw NabuError.of('DEVICE_FOREIGN', {
        device: `of node ${node.id}`,
        owner: `cluster ${clusterId}`,
        expected: this.#map.clusterId,
      });
    }
    return await this.#change((map) => {
      const known = map.nodes.find((candidate) => candidate.id === node.id);
      const state: NodeState = known === undefined || known.state === 'down' ? 'up' : known.state;
      const entered: MapNode = { ...node, weight: weightOf(registration), state };
      if (known !== undefined && sameNode(normal(known), normal(entered))) return undefined;
      this.#logger.info('node registered', { nodeId: node.id, ...node.address, state });
      return [...map.nodes.filter((candidate) => candidate.id !== node.id), normal(entered)];
    });
  }

  /**
   * Whether a store can have lost nothing: it is the first that the node ever had here. Every later one, after the device was
   * replaced or emptied, may be asked for shards that its predecessor held.
   */
  async isFirstStore({
    id,
    deviceId = '',
    incarnation = '',
  }: Pick<Registration, 'id' | 'deviceId' | 'incarnation'>): Promise<boolean> {
    return await this.#changes.run(id, async () => {
      const store = { deviceId, incarnation };
      const first = await this.#store.get(FIRST_STORE_KIND, id);
      if (first === undefined)
        await this.#store.put({ kind: FIRST_STORE_KIND, id, name: null, expected: 0n, body: store });
      return first === undefined || JSON.stringify(first.body) === JSON.stringify(store);
    });
  }

  async setState(nodeId: NodeId, state: string): Promise<ClusterMap> {
    const wanted = NODE_STATES.find((candidate) => candidate === state);
    if (wanted === undefined) {
      throw NabuError.of('INVALID_ARGUMENT', { field: 'state', reason: `is not one of ${NODE_STATES.join(', ')}` });
    }
    return await this.#change((map) => {
      const known = map.nodes.find((candidate) => candidate.id === nodeId);
      if (known === undefined) throw NabuError.of('NODE_NOT_FOUND', { nodeId });
      if (known.state === wanted) return undefined;
      this.#logger.info('node state changed', { nodeId, from: known.state, to: wanted });
      return map.nodes.map((candidate) => (candidate === known ? { ...known, state: wanted } : candidate));
    });
  }

  /** `edit` returns the new nodes, or undefined to leave the map as it is. */
  async #change(edit: (map: ClusterMap) => readonly MapNode[] | undefined): Promise<ClusterMap> {
    return await this.#changes.run(MAP_ID, async () => {
      const nodes = edit(this.#map);
      if (nodes === undefined) return this.#map;
      const next = parseClusterMap({ ...this.#map, epoch: epoch(this.#map.epoch + 1), nodes }, 'the new cluster map');
      this.#resource = await this.#store.put({
        kind: CLUSTER_KIND,
        id: MAP_ID,
        name: null,
        expected: this.#resource.version,
        body: next,
      });
      this.#map = next;
      for (const listener of this.#listeners) listener(next);
      return next;
    });
  }
}

/** One order of members and none undefined, so that equal nodes have equal JSON. */
function normal(node: MapNode): MapNode {
  const { id, address, domain, weight, state, capacityBytes, deviceId, incarnation } = node;
  return {
    id,
    address: { host: address.host, port: address.port },
    domain: { zone: domain.zone, rack: domain.rack, host: domain.host },
    weight,
    state,
    ...(capacityBytes === undefined ? {} : { capacityBytes }),
    ...(deviceId === undefined ? {} : { deviceId }),
    ...(incarnation === undefined ? {} : { incarnation }),
  };
}
