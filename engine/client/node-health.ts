import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import type { NodeId } from '../blob/index.ts';
import type { ClusterMap, MapNode, MapSource } from '../placement/index.ts';
import type { NodeClient } from '../protocol/index.ts';
import type { CallDeadline } from '../transport/index.ts';
import { LazyNodeClient } from './lazy-node-client.ts';
import type { NodeConnector } from './node-connector.ts';
import { NodePeer, type PeerStatus } from './node-peer.ts';

export type NodeHealthOptions = {
  readonly connector: NodeConnector;
  readonly maps: MapSource;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly connectTimeoutMs?: number;
  readonly firstRetryMs?: number;
  readonly lastRetryMs?: number;
};

const DEFAULT_CONNECT_MS = 3000;
const DEFAULT_FIRST_RETRY_MS = 50;
const DEFAULT_LAST_RETRY_MS = 2000;

function sameAddress(a: MapNode, b: MapNode): boolean {
  return a.address.host === b.address.host && a.address.port === b.address.port;
}

/** This process's own evidence of who is alive, and the way to each node. One connection per node, shared by all callers. */
export class NodeHealth {
  readonly #options: NodeHealthOptions;
  readonly #peers = new Map<NodeId, NodePeer>();
  readonly #listeners = new Set<() => void>();
  readonly #stopMap: () => void;
  #map: ClusterMap;
  #byId: Map<NodeId, MapNode>;
  #closed = false;

  constructor(options: NodeHealthOptions) {
    this.#options = options;
    this.#map = options.maps.current();
    this.#byId = new Map(this.#map.nodes.map((node) => [node.id, node]));
    this.#stopMap = options.maps.onChange((map) => this.#follow(map));
  }

  /** NODE_NOT_FOUND for a node that the map does not have. */
  peer(nodeId: NodeId): NodePeer {
    const known = this.#peers.get(nodeId);
    if (known !== undefined) return known;
    const node = this.#byId.get(nodeId);
    if (node === undefined || this.#closed) throw NabuError.of('NODE_NOT_FOUND', { nodeId });
    const peer = this.#newPeer(node);
    this.#peers.set(nodeId, peer);
    return peer;
  }

  /** Takes writes: up in the map (not down, draining or out) and not known to be away. */
  isUsable(nodeId: NodeId): boolean {
    return this.#byId.get(nodeId)?.state === 'up' && this.isReachable(nodeId);
  }

  /** In the map and not known to be away. */
  isReachable(nodeId: NodeId): boolean {
    if (!this.#byId.has(nodeId)) return false;
    return this.#peers.get(nodeId)?.reachable ?? true;
  }

  /** The node's calls; each waits for the first dial and fails with UNAVAILABLE while the node is away. */
  call(nodeId: NodeId): NodeClient {
    return new LazyNodeClient((deadline) => this.clientOf(nodeId, deadline));
  }

  async clientOf(nodeId: NodeId, deadline: CallDeadline): Promise<NodeClient> {
    return await this.peer(nodeId).client(deadline);
  }

  /** Of all nodes that were ever needed. */
  statuses(): PeerStatus[] {
    return [...this.#peers.values()].map((peer) => peer.status);
  }

  /** Called when a node goes away or comes back, or the map changes. Returns what ends it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#closed = true;
    this.#stopMap();
    for (const peer of this.#peers.values()) peer.close();
    this.#peers.clear();
  }

  #newPeer(node: MapNode): NodePeer {
    const { connector, clock, random, logger } = this.#options;
    return new NodePeer(node, {
      connector,
      observer: { newerMap: (epoch) => this.#options.maps.hint?.(epoch) },
      clock,
      random,
      logger,
      connectTimeoutMs: this.#options.connectTimeoutMs ?? DEFAULT_CONNECT_MS,
      firstRetryMs: this.#options.firstRetryMs ?? DEFAULT_FIRST_RETRY_MS,
      lastRetryMs: this.#options.lastRetryMs ?? DEFAULT_LAST_RETRY_MS,
      changed: () => this.#announce(),
    });
  }

  /** A node that moved is dialled at its new address; one that left the map is forgotten. */
  #follow(map: ClusterMap): void {
    this.#map = map;
    this.#byId = new Map(map.nodes.map((node) => [node.id, node]));
    for (const [id, peer] of this.#peers) {
      const node = this.#byId.get(id);
      if (node !== undefined && sameAddress(node, peer.node) && node.incarnation === peer.node.incarnation) continue;
      peer.close();
      this.#peers.delete(id);
    }
    this.#announce();
  }

  #announce(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
