import type { SeededRandom } from '../../../common/ports/index.ts';
import type { KubeApi } from '../plane/kube-api.ts';
import { FLEET, type FleetNode, type FleetShape, fleetOf } from './fleet.ts';
import { publishReports } from './locality-reports.ts';
import type { OracleNode, Part } from './oracle.ts';
import type { StorageNodeGiven } from './storage-side.ts';

const GIB = 2 ** 30;

/** Of the raw bytes, by zone; the last zone has none: from there no storage can be reached. */
const ZONE_SHARES = [0.6, 0.3, 0.1, 0];
const STORAGE_PER_ZONE = 12;
/** One storage node in every so many racks. */
const RACKS_APART = 4;
const CUT_OFF_SHARE = 0.02;
const SLOW_SHARE = 0.05;
const SLOW_GBPS = 25;
const BUSY_SHARE = 0.1;
const ATTACH_LIMIT = 8;
const CUT_OFF = { key: 'nabustore.io/fabric', effect: 'PreferNoSchedule' };
const RATE_LABEL = 'nabustore.io/rdma.rate-gbps';

const MODELS = 60;
const MODEL_BYTES = [15e9, 30e9, 140e9, 400e9];
const MOST_HOLDERS = 40;
const HOLDERS_EXPONENT = 0.7;

export type Model = {
  readonly id: string;
  readonly sizeBytes: number;
  /** In NabuStore too: what nobody near has comes from storage nodes. */
  readonly stored: boolean;
  readonly cached: readonly { readonly node: FleetNode; readonly share: number }[];
};

export type SiteOptions = { readonly random: SeededRandom; readonly shape?: FleetShape; readonly rawBytes: number };

const pick = <T>(random: SeededRandom, from: readonly T[]): T => {
  const found = from[Math.floor(random.float() * from.length)];
  if (found === undefined) throw new Error('nothing to pick from');
  return found;
};

/** A place made up from a seed, and all that is so there: what a test tells a cluster, and what its oracle computes with. */
export class Site {
  readonly fleet: readonly FleetNode[];
  readonly models: readonly Model[];
  /** By name. */
  readonly nodes: ReadonlyMap<string, OracleNode>;
  readonly #links: ReadonlyMap<string, number>;
  #storage: readonly StorageNodeGiven[];

  constructor({ random, shape = FLEET, rawBytes }: SiteOptions) {
    this.fleet = fleetOf(shape).map((node) => ({
      ...node,
      ...(random.float() < CUT_OFF_SHARE ? { taints: [CUT_OFF] } : {}),
      ...(random.float() < SLOW_SHARE ? { labels: { [RATE_LABEL]: String(SLOW_GBPS) } } : {}),
    }));
    this.#storage = storageOf(rawBytes);
    this.models = Array.from({ length: MODELS }, (_, rank) => modelOf(rank, this.fleet, random));
    const busy = this.fleet.filter(() => random.float() < BUSY_SHARE);
    this.#links = new Map(busy.map(({ name }) => [name, Math.round(random.float() * 90)]));
    this.nodes = new Map(this.fleet.map((node) => [node.name, this.#oracleNode(node)]));
  }

  get storage(): readonly StorageNodeGiven[] {
    return this.#storage;
  }

  storageNode(id: string): StorageNodeGiven {
    const found = this.#storage.find((node) => node.id === id);
    if (found === undefined) throw new Error(`there is no storage node ${id}`);
    return found;
  }

  /** More devices in a storage node. */
  grow(id: string, byBytes: number): void {
    const grown = (node: StorageNodeGiven) => ({ ...node, capacityBytes: node.capacityBytes + byBytes });
    this.#storage = this.#storage.map((node) => (node.id === id ? grown(node) : node));
  }

  get attachLimit(): number {
    return ATTACH_LIMIT;
  }

  /** Over the storage nodes by their capacity, as new volumes and stored models are. */
  get evenly(): readonly Part[] {
    const raw = this.storage.reduce((total, { capacityBytes }) => total + capacityBytes, 0);
    return this.storage.map((node) => partOf(node, node.capacityBytes / raw));
  }

  /** `share` of something on each of these storage nodes. */
  partsOn(ids: readonly string[], share: number): readonly Part[] {
    const known = new Set(ids);
    return this.storage.filter(({ id }) => known.has(id)).map((node) => partOf(node, share));
  }

  partsOfModel({ cached, stored }: Model): readonly Part[] {
    const held = cached.map(({ node, share }) => ({ ...node, share, host: node.name }));
    return stored ? [...held, ...this.evenly] : held;
  }

  /** What the nodes say of themselves, as their agents would. */
  async report(api: KubeApi): Promise<void> {
    const contents = new Map<string, object[]>();
    for (const { id, sizeBytes, stored, cached } of this.models) {
      for (const { node, share } of cached) {
        const held = { kind: 'Model', id, sizeBytes, cachedBytes: Math.round(sizeBytes * share), stored };
        contents.set(node.name, [...(contents.get(node.name) ?? []), held]);
      }
    }
    const names = [...contents.keys(), ...this.#links.keys()];
    const reported = (name: string) => ({
      linkLoadPercent: this.#links.get(name) ?? 0,
      contents: contents.get(name) ?? [],
    });
    await publishReports(api, new Map(names.map((name) => [name, reported(name)])));
  }

  #oracleNode({ name, zone, rack, rail, labels = {}, taints = [] }: FleetNode): OracleNode {
    const hasStorage = this.storage.some((node) => node.zone === zone);
    return {
      name,
      zone,
      rack,
      rail,
      linkLoad: (this.#links.get(name) ?? 0) / 100,
      linkGbps: labels[RATE_LABEL] === undefined ? undefined : SLOW_GBPS,
      reachesStorage: hasStorage && taints.length === 0,
      allocatable: { cpu: 96, memory: 1024 * GIB, gpu: 8, pods: 110 },
      attachLimit: ATTACH_LIMIT,
    };
  }
}

function storageOf(rawBytes: number): readonly StorageNodeGiven[] {
  return ZONE_SHARES.flatMap((share, zone) =>
    share === 0
      ? []
      : Array.from({ length: STORAGE_PER_ZONE }, (_, at) => ({
          id: `stor-${zone}-${at}`,
          zone: `zone-${zone}`,
          rack: `rack-${at * RACKS_APART}`,
          capacityBytes: Math.ceil((rawBytes * share) / STORAGE_PER_ZONE),
        })),
  );
}

function partOf({ id, zone, rack, host = id }: StorageNodeGiven, share: number): Part {
  return { share, host, zone, rack, rail: '' };
}

/** The more popular, the more nodes have it; a third of them half of it. */
function modelOf(rank: number, fleet: readonly FleetNode[], random: SeededRandom): Model {
  const holders = Math.max(2, Math.round(MOST_HOLDERS / (rank + 1) ** HOLDERS_EXPONENT));
  const nodes = new Set(Array.from({ length: holders }, () => pick(random, fleet)));
  const sizeBytes = pick(random, MODEL_BYTES);
  const cached = [...nodes].map((node) => ({ node, share: random.float() < 1 / 3 ? 0.5 : 1 }));
  return { id: `model-${rank}`, sizeBytes, stored: random.float() < 0.8, cached };
}
