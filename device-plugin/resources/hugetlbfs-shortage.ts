import type { HugePages } from '../discovery/index.ts';
import type { DeviceId } from '../kubelet/index.ts';
import type { HeldPages } from './page-holders.ts';

/** Units of one NUMA node, in the order of their numbers. */
export type NodeUnits = { readonly free: number | null; readonly ids: readonly DeviceId[] };

export type Shortage = {
  /** The units that nobody holds and that there are no pages for. */
  readonly ids: ReadonlySet<DeviceId>;
  /** Pages that a mapping made now would get. */
  readonly free: number;
  /** Pages that the units need which no pod holds. */
  readonly needed: number;
};

const NONE: Shortage = { ids: new Set(), free: 0, needed: 0 };

/**
 * Which units must not be given out because their pages are in other hands. Pure. With p pages a unit, of U units that the
 * machine is large enough for and of which pods hold some:
 *
 *   units that can still be had = min(U p - what holders of units hold, free - reserved + what other pods hold) / p
 *
 * 'Other pods' are containers with more hugepages-* than units: those pages are the kubelet's to count, and a pod that asks
 * for a unit and its pages is not admitted for lack of them anyway, so they make no unit unhealthy. The kubelet shows them
 * where its memory manager is Static; elsewhere what such pods have touched counts against units for as long as they run.
 *
 * The rule proves and never guesses: a unit is unhealthy only when more pages are taken than pods can have taken. Pages of
 * holders that have not touched them yet look free, so a theft of no more than those is not seen.
 *
 * The counts are the machine's: pages come from where a thread first touches them, whatever node the unit is of. Where units
 * have to be chosen, they are the last of the node that has the least free pages for its units.
 */
export function shortage(
  pool: HugePages,
  nodes: readonly NodeUnits[],
  held: HeldPages,
  pagesPerUnit: number,
): Shortage {
  if (pool.free === null) return NONE;
  const free = Math.max(0, pool.free - (pool.reserved ?? 0));
  const unheld = nodes.map(({ ids }) => ids.filter((id) => !held.units.has(id)));
  const unheldCount = count(unheld);
  const capacity = Math.max(0, count(nodes.map(({ ids }) => ids)) - held.units.size);
  const others = othersPages(pool, held, pagesPerUnit);
  const left = Math.min(capacity, Math.floor((free + others) / pagesPerUnit));
  const ids = new Set<DeviceId>();
  for (let short = unheldCount - left; short > 0; short--) {
    const id = lastOfPoorest(nodes, unheld, pagesPerUnit);
    if (id !== undefined) ids.add(id);
  }
  return { ids, free, needed: Math.max(0, Math.min(unheldCount, capacity) * pagesPerUnit - others) };
}

const count = (lists: readonly (readonly unknown[])[]): number => lists.reduce((sum, list) => sum + list.length, 0);

function othersPages({ sizeBytes }: HugePages, held: HeldPages, pagesPerUnit: number): number {
  const beyond = held.containers.map(({ units, pageBytes }) => pageBytes / sizeBytes - units * pagesPerUnit);
  return beyond.reduce((sum, pages) => sum + Math.max(0, pages), 0);
}

function lastOfPoorest(nodes: readonly NodeUnits[], unheld: DeviceId[][], pagesPerUnit: number): DeviceId | undefined {
  const lacking = unheld.map((ids, at) =>
    ids.length === 0 ? Number.NEGATIVE_INFINITY : ids.length * pagesPerUnit - (nodes[at]?.free ?? 0),
  );
  return unheld[lacking.indexOf(Math.max(...lacking))]?.pop();
}
