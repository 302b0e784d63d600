// Written from docs/scheduler-extender.md alone: nothing of the extender is imported here, and nothing is computed once for many
// nodes. It is meant to be slow and plain.

/** Gigabytes per second and microseconds there and back, as the guide's table says. */
const TABLE = [
  { distance: 'host', bytesPerSecond: 20e9, tripS: 5e-6 },
  { distance: 'rail', bytesPerSecond: 12e9, tripS: 12e-6 },
  { distance: 'rack', bytesPerSecond: 8e9, tripS: 20e-6 },
  { distance: 'zone', bytesPerSecond: 4e9, tripS: 60e-6 },
  { distance: 'far', bytesPerSecond: 0.5e9, tripS: 1e-3 },
] as const;
const TRIPS = 4;
const BUSIEST = 0.95;
const FAR = TABLE.length - 1;

export type Amounts = { readonly cpu: number; readonly memory: number; readonly gpu: number; readonly pods: number };

export type OracleNode = {
  readonly name: string;
  readonly zone: string;
  readonly rack: string;
  readonly rail: string;
  /** 0 to 1. */
  readonly linkLoad: number;
  /** Undefined: as fast as anything. */
  readonly linkGbps: number | undefined;
  /** Storage can be had there at all. */
  readonly reachesStorage: boolean;
  readonly allocatable: Amounts;
  readonly attachLimit: number;
};

/** Of a node what counts for how long something takes to be there. */
export type OraclePlace = Pick<OracleNode, 'name' | 'zone' | 'rack' | 'rail' | 'linkLoad' | 'linkGbps'>;

/** A share of something, where it lies: on a node of the cluster, or beside them in a rack. */
export type Part = {
  readonly share: number;
  readonly host: string;
  readonly zone: string;
  readonly rack: string;
  readonly rail: string;
};

export type OracleReading = { readonly bytes: number; readonly parts: readonly Part[] };

export type OraclePod = {
  readonly name: string;
  readonly asks: Amounts;
  /** Volumes of ours, new ones or not. */
  readonly volumes: number;
  readonly readings: readonly OracleReading[];
};

function distanceOf(node: OraclePlace, part: Part): number {
  if (part.host === node.name) return 0;
  if (part.zone !== node.zone) return FAR;
  if (part.rail !== '' && part.rail === node.rail) return 1;
  return part.rack === node.rack ? 2 : 3;
}

/** The expected seconds until a pod on the node has everything that it reads. */
export function loadSeconds(node: OraclePlace, readings: readonly OracleReading[]): number {
  const linkBytesPerSecond = node.linkGbps === undefined ? Number.POSITIVE_INFINITY : (node.linkGbps * 1e9) / 8;
  const slowdown = 1 / (1 - Math.min(node.linkLoad, BUSIEST));
  let seconds = 0;
  for (const { bytes, parts } of readings) {
    const within = TABLE.map(() => 0);
    for (const part of parts) {
      const distance = distanceOf(node, part);
      within[distance] = (within[distance] ?? 0) + part.share;
    }
    let left = 1;
    TABLE.forEach(({ bytesPerSecond, tripS }, distance) => {
      // What nobody near has comes from far away, whether or not we know of whom.
      const share = distance === FAR ? left : Math.min(left, within[distance] ?? 0);
      left -= share;
      const overLink = (share * bytes * slowdown) / Math.min(bytesPerSecond, linkBytesPerSecond);
      seconds += distance === 0 ? (share * bytes) / bytesPerSecond : overLink;
      seconds += TRIPS * share * tripS;
    });
  }
  return seconds;
}

const NOTHING: Amounts = { cpu: 0, memory: 0, gpu: 0, pods: 0 };
const plus = (a: Amounts, b: Amounts): Amounts => ({
  cpu: a.cpu + b.cpu,
  memory: a.memory + b.memory,
  gpu: a.gpu + b.gpu,
  pods: a.pods + b.pods,
});
const fits = (a: Amounts, within: Amounts): boolean =>
  a.cpu <= within.cpu && a.memory <= within.memory && a.gpu <= within.gpu && a.pods <= within.pods;

/** What is left of nodes while pods are placed one after another. */
export class Occupancy {
  readonly #used = new Map<string, Amounts>();
  readonly #volumes = new Map<string, number>();

  place(pod: OraclePod, node: OracleNode): void {
    this.#used.set(node.name, plus(this.usedOf(node), pod.asks));
    this.#volumes.set(node.name, this.volumesOf(node) + pod.volumes);
  }

  usedOf({ name }: OracleNode): Amounts {
    return this.#used.get(name) ?? NOTHING;
  }

  volumesOf({ name }: OracleNode): number {
    return this.#volumes.get(name) ?? 0;
  }

  /** Why the node cannot take the pod, or undefined. */
  refuses(pod: OraclePod, node: OracleNode): string | undefined {
    if (!fits(plus(this.usedOf(node), pod.asks), node.allocatable)) return 'it is full';
    if (pod.volumes + pod.readings.length > 0 && !node.reachesStorage) return 'it does not reach storage';
    if (this.volumesOf(node) + pod.volumes > node.attachLimit) return 'no volume more can be attached';
    return undefined;
  }
}

export type Choice = { readonly node: OracleNode; readonly seconds: number };

/** The best of the nodes that can take the pod, by trying each; undefined where none can. */
export function bestOf(pod: OraclePod, nodes: Iterable<OracleNode>, occupancy: Occupancy): Choice | undefined {
  let best: Choice | undefined;
  for (const node of nodes) {
    if (occupancy.refuses(pod, node) !== undefined) continue;
    const seconds = loadSeconds(node, pod.readings);
    if (best === undefined || seconds < best.seconds) best = { node, seconds };
  }
  return best;
}
