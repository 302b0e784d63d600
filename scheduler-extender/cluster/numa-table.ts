import type { ReportedDevices } from '../kube/index.ts';
import { NO_SLOT, type Slot } from './name-table.ts';
import type { NodeTable } from './node-table.ts';

/** Units of one resource on one node, as the node's own report says. */
export type ReportedUnits = {
  readonly used: number;
  /** On the NUMA node that has the most of them. */
  readonly mostFree: number;
};

/** Which NUMA nodes have devices left, where nodes report it: the kubelet knows, and tells nobody but processes on its node. */
export class NumaTable {
  readonly #nodes: NodeTable;
  readonly #units = new Map<Slot, ReadonlyMap<string, ReportedUnits>>();

  constructor(nodes: NodeTable) {
    this.#nodes = nodes;
  }

  /** Undefined where nothing is reported. */
  units(slot: Slot, resource: string): ReportedUnits | undefined {
    return this.#units.get(slot)?.get(resource);
  }

  put(node: string, devices: readonly ReportedDevices[]): void {
    if (devices.length === 0) {
      this.remove(node);
      return;
    }
    const units = new Map<string, ReportedUnits>();
    for (const { resource, total, free } of devices) {
      const { used, mostFree } = units.get(resource) ?? { used: 0, mostFree: 0 };
      units.set(resource, { used: used + total - free, mostFree: Math.max(mostFree, free) });
    }
    const known = this.#nodes.names.find(node);
    this.#units.set(known !== NO_SLOT && this.#units.has(known) ? known : this.#nodes.acquire(node), units);
  }

  remove(node: string): void {
    const slot = this.#nodes.names.find(node);
    if (slot !== NO_SLOT && this.#units.delete(slot)) this.#nodes.release(slot);
  }
}
