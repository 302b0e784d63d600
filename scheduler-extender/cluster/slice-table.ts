import type { ResourceSliceFacts } from '../kube/index.ts';
import { NO_SLOT, type Slot } from './name-table.ts';
import type { NodeTable } from './node-table.ts';

/** Units of one resource on one node. */
export type ClaimableUnits = {
  readonly total: number;
  /** On the NUMA node that has the most of them; all of them where nobody says which are where. */
  readonly mostOnOne: number;
};

const NO_UNITS: ReadonlyMap<string, ClaimableUnits> = new Map();

function summed(slices: Iterable<ResourceSliceFacts>): ReadonlyMap<string, ClaimableUnits> {
  const all = [...slices];
  const newest = Math.max(...all.map(({ generation }) => generation));
  const byNuma = new Map<string, Map<number, number>>();
  for (const { generation, units } of all) {
    if (generation !== newest) continue;
    for (const { resource, numaNode, units: count } of units) {
      const counts = byNuma.get(resource) ?? new Map<number, number>();
      counts.set(numaNode, (counts.get(numaNode) ?? 0) + count);
      byNuma.set(resource, counts);
    }
  }
  return new Map(
    [...byNuma].map(([resource, counts]) => {
      const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
      return [resource, { total, mostOnOne: counts.has(-1) ? total : Math.max(...counts.values()) }];
    }),
  );
}

/** Devices that nodes publish for claims, by node: what is not in `allocatable` because the scheduler hands it out itself. */
export class SliceTable {
  readonly #nodes: NodeTable;
  readonly #slices = new Map<string, ResourceSliceFacts>();
  readonly #byNode = new Map<Slot, { readonly names: Set<string>; units: ReadonlyMap<string, ClaimableUnits> }>();

  constructor(nodes: NodeTable) {
    this.#nodes = nodes;
  }

  get count(): number {
    return this.#slices.size;
  }

  /** Undefined where the node publishes none. */
  units(slot: Slot, resource: string): ClaimableUnits | undefined {
    return (this.#byNode.get(slot)?.units ?? NO_UNITS).get(resource);
  }

  put(facts: ResourceSliceFacts): void {
    this.remove(facts.name);
    this.#slices.set(facts.name, facts);
    let slot = this.#nodes.names.find(facts.node);
    let entry = slot === NO_SLOT ? undefined : this.#byNode.get(slot);
    if (entry === undefined) {
      slot = this.#nodes.acquire(facts.node);
      entry = { names: new Set(), units: NO_UNITS };
      this.#byNode.set(slot, entry);
    }
    entry.names.add(facts.name);
    this.#sum(entry);
  }

  remove(name: string): void {
    const before = this.#slices.get(name);
    if (before === undefined) return;
    this.#slices.delete(name);
    const slot = this.#nodes.names.find(before.node);
    const entry = this.#byNode.get(slot);
    if (entry === undefined) return;
    entry.names.delete(name);
    if (entry.names.size > 0) {
      this.#sum(entry);
      return;
    }
    this.#byNode.delete(slot);
    this.#nodes.release(slot);
  }

  #sum(entry: { readonly names: ReadonlySet<string>; units: ReadonlyMap<string, ClaimableUnits> }): void {
    entry.units = summed([...entry.names].flatMap((name) => this.#slices.get(name) ?? []));
  }
}
