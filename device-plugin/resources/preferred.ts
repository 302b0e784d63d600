import type { DeviceId } from '../kubelet/index.ts';
import type { Unit } from './unit.ts';

/** Of more ways than this to choose NUMA nodes the first are tried, those with the most units: eight nodes have 70 at most. */
const NODE_CHOICE_LIMIT = 256;

/**
 * Which units suit each other, for a plugin that is not told of GPUs. In this order:
 * 1. as many as can be on a PCIe root of those that must be included,
 * 2. on as few NUMA nodes as can be, those of the ones that must be included first,
 * 3. spread: as evenly over devices as can be, and first from those with the most units left.
 * Pure, and the same for the same question: what is left open is decided by the order of `units`. Units of `available` and
 * `mustInclude` that `units` does not have count as on no root and no node, each a device of its own.
 */
export function preferred(
  units: ReadonlyMap<DeviceId, Unit>,
  available: readonly DeviceId[],
  mustInclude: readonly DeviceId[],
  size: number,
): readonly DeviceId[] {
  const order = new Map([...units.keys()].map((id, at) => [id, at]));
  const placeOf = (id: DeviceId): Place => {
    const unit = units.get(id);
    const at = order.get(id) ?? Number.POSITIVE_INFINITY;
    return { id, at, device: unit?.device ?? id, root: unit?.pcieRoot ?? null, node: unit?.numaNodes.join(',') ?? '' };
  };
  const must = new Set(mustInclude);
  const included = mustInclude.map(placeOf);
  const others = available.filter((id) => !must.has(id)).map(placeOf);
  others.sort((a, b) => a.at - b.at);
  const roots = new Set(included.map(({ root }) => root).filter((root) => root !== null));
  const near = others.filter(({ root }) => root !== null && roots.has(root));
  const far = others.filter(({ root }) => root === null || !roots.has(root));
  const chosen = choose(near, included, Math.min(near.length, size - included.length));
  return choose(far, chosen, size - chosen.length).map(({ id }) => id);
}

type Place = {
  readonly id: DeviceId;
  readonly at: number;
  readonly device: string;
  readonly root: string | null;
  /** Its NUMA nodes as one text. */
  readonly node: string;
};

/** `chosen` and `count` of `pool` more, by the rules 2 and 3. */
function choose(pool: readonly Place[], chosen: readonly Place[], count: number): readonly Place[] {
  if (count <= 0) return chosen;
  const used = new Set(chosen.map(({ node }) => node));
  let best: Choice | undefined;
  for (const nodes of fewestNodes(pool, used, count)) {
    const choice = spread(
      pool.filter(({ node }) => used.has(node) || nodes.has(node)),
      chosen,
      count,
    );
    if (best === undefined || isBetter(choice, best)) best = choice;
  }
  return best?.places ?? chosen;
}

/** The smallest sets of further nodes that, with those used anyway, have `count` units; all of that size. */
function fewestNodes(pool: readonly Place[], used: ReadonlySet<string>, count: number): readonly ReadonlySet<string>[] {
  const counts = new Map<string, number>();
  for (const { node } of pool) counts.set(node, (counts.get(node) ?? 0) + 1);
  const atHand = [...used].reduce((sum, node) => sum + (counts.get(node) ?? 0), 0);
  const further = [...counts].filter(([node]) => !used.has(node)).sort(([, a], [, b]) => b - a);
  let left = count - atHand;
  let least = 0;
  for (const [, units] of further) {
    if (left <= 0) break;
    left -= units;
    least++;
  }
  const sets: ReadonlySet<string>[] = [];
  const visit = (from: number, names: readonly string[], sum: number): void => {
    if (sets.length >= NODE_CHOICE_LIMIT) return;
    if (names.length === least) {
      if (sum >= count - atHand) sets.push(new Set(names));
      return;
    }
    for (let at = from; at < further.length; at++) {
      const [name, units] = further[at] ?? ['', 0];
      visit(at + 1, [...names, name], sum + units);
    }
  };
  visit(0, [], 0);
  return sets;
}

type Choice = { readonly places: readonly Place[]; readonly squares: number; readonly left: number };

/** Less crowded devices; then devices with more units left. */
function isBetter(a: Choice, b: Choice): boolean {
  return a.squares !== b.squares ? a.squares < b.squares : a.left > b.left;
}

type Device = { readonly queue: readonly Place[]; taken: number; given: number };

/** In rounds: one from each device that has given the least so far, those with the most left first. */
function spread(pool: readonly Place[], chosen: readonly Place[], count: number): Choice {
  const taken = new Map<string, number>();
  for (const { device } of chosen) taken.set(device, (taken.get(device) ?? 0) + 1);
  const byDevice = Map.groupBy(pool, ({ device }) => device);
  const devices = [...byDevice].map(([name, queue]): Device => ({ queue, taken: taken.get(name) ?? 0, given: 0 }));
  devices.sort((a, b) => b.queue.length - a.queue.length); // stable: of equals the first in the order of units
  const places = [...chosen];
  let left = 0;
  while (places.length < chosen.length + count) {
    const open = devices.filter(({ queue, given }) => given < queue.length);
    const least = Math.min(...open.map((device) => device.taken));
    for (const device of open.filter((one) => one.taken === least)) {
      const place = device.queue[device.given];
      if (place === undefined || places.length === chosen.length + count) break;
      places.push(place);
      device.given++;
      device.taken++;
      left += device.queue.length;
    }
    if (open.length === 0) break;
  }
  for (const { device } of places.slice(chosen.length)) taken.set(device, (taken.get(device) ?? 0) + 1);
  const squares = [...taken.values()].reduce((sum, units) => sum + units * units, 0);
  return { places, squares, left };
}
