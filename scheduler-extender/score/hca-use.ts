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
   * is not expected to be free on one. What is in use is taken to be spread evenly: the API shows how many units a node has on which
   * NUMA node (ResourceSlices), and how many are in use, not which.
   */
  numaStretch(slot: Slot): number {
    let inside = 1;
    for (const [resource, wanted] of this.#asked) {
      const units = this.#index.slices.units(slot, resource);
      if (units === undefined) continue; // a device plugin tells the API counts alone
      const free = units.mostOnOne * (1 - this.#usedShare(slot, resource));
      inside = Math.min(inside, free / wanted);
    }
    return 1 + (this.#weights.numaSlowdown - 1) * (1 - inside);
  }

  #usedShare(slot: Slot, resource: string): number {
    const column = this.#index.nodes.devices(resource);
    const total = (column?.total[slot] ?? 0) + (this.#index.slices.units(slot, resource)?.total ?? 0);
    return total > 0 ? Math.min((column?.used[slot] ?? 0) / total, 1) : 0;
  }
}
