import type { ClusterIndex, Slot } from '../cluster/index.ts';
import { RESOURCE_PREFIX } from '../kube/index.ts';
import type { Need } from '../need/index.ts';
import type { ScoreWeights } from './weights.ts';

const HCA_RESOURCE = /^nabustore\.io\/(rdma|gds)(-|$)/;

/** What a pod that asks for HCAs finds on a node: how many are left, and whether they are on one NUMA node. Pure. */
export class HcaUse {
  readonly #index: ClusterIndex;
  readonly #weights: ScoreWeights;
  readonly #asked: readonly (readonly [resource: string, units: number])[];

  constructor({ devices }: Pick<Need, 'devices'>, index: ClusterIndex, weights: ScoreWeights) {
    this.#index = index;
    this.#weights = weights;
    this.#asked = [...devices].filter(([name]) => name.startsWith(RESOURCE_PREFIX) && HCA_RESOURCE.test(name));
  }

  /** What others that hold HCAs there may take of the node's link, 0 to below 1. */
  busy(slot: Slot): number {
    let busy = 0;
    for (const [resource] of this.#asked) busy = Math.max(busy, this.#usedShare(slot, resource));
    return busy * this.#weights.hcaContention;
  }

  /**
   * How much longer all takes that comes over the link because HCA and memory are on two NUMA nodes: 1, or more where what is asked for
   * is not free on one.
   */
  numaStretch(slot: Slot): number {
    let inside = 1;
    for (const [resource, wanted] of this.#asked) {
      const free = this.#freeOnOne(slot, resource) ?? wanted;
      inside = Math.min(inside, Math.max(free, 0) / wanted);
    }
    return 1 + (this.#weights.numaSlowdown - 1) * (1 - inside);
  }

  /**
   * By the node's own report, less what pods have taken since; else by ResourceSlices, which say how many units are where, not which are
   * in use: that is taken to be spread evenly. Undefined where neither tells: a device plugin shows the API counts alone.
   */
  #freeOnOne(slot: Slot, resource: string): number | undefined {
    const reported = this.#index.numa.units(slot, resource);
    if (reported !== undefined) {
      const since = (this.#index.nodes.devices(resource)?.used[slot] ?? 0) - reported.used;
      return reported.mostFree - Math.max(0, since);
    }
    const published = this.#index.slices.units(slot, resource);
    return published === undefined ? undefined : published.mostOnOne * (1 - this.#usedShare(slot, resource));
  }

  #usedShare(slot: Slot, resource: string): number {
    const column = this.#index.nodes.devices(resource);
    const total = (column?.total[slot] ?? 0) + (this.#index.slices.units(slot, resource)?.total ?? 0);
    return total > 0 ? Math.min((column?.used[slot] ?? 0) / total, 1) : 0;
  }
}
