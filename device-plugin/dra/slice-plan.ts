import { createHash } from 'node:crypto';
import { DRIVER_NAME } from './driver-name.ts';
import type { ResourceSliceSpec } from './resource-api.ts';
import { devicesText, type StoredSlice } from './stored-slice.ts';

/** What is to be done so that the server has what is wanted, in this order. */
export type SlicePlan = {
  readonly deletes: readonly StoredSlice[];
  readonly updates: readonly { readonly stored: StoredSlice; readonly spec: ResourceSliceSpec }[];
  readonly creates: readonly { readonly name: string; readonly spec: ResourceSliceSpec }[];
};

/** By the text of a list of devices that was sent: the text of the list that came back. */
export type KeptDevices = ReadonlyMap<string, string>;

function isKept({ spec: { devices } }: StoredSlice, wanted: ResourceSliceSpec, kept: KeptDevices): boolean {
  const text = devicesText(wanted.devices);
  return devicesText(devices ?? []) === (kept.get(text) ?? text);
}

/** metadata.name is a DNS subdomain of at most 253 characters, as a node's name is. */
const NAME_CHARS = 253;
const DIGEST_CHARS = 8;

/**
 * One name for each place in the pool of a node, so that a slice that was created but not answered for is found again. The
 * number is in front: the scheduler goes through slices by name.
 */
export function sliceName(nodeName: string, index: number): string {
  const whole = `${index.toString(16).padStart(3, '0')}-${DRIVER_NAME}-${nodeName}`;
  if (whole.length <= NAME_CHARS) return whole;
  const digest = createHash('sha256').update(nodeName).digest('hex').slice(0, DIGEST_CHARS);
  return `${whole.slice(0, NAME_CHARS - DIGEST_CHARS - 1).replace(/[.-]+$/, '')}-${digest}`;
}

/**
 * Pure. From what the server has of our driver on our node to what is wanted. A consumer takes only the highest generation
 * of a pool, and that only when all of its slices are there: so one slice that changes alone is written in its
 * generation, and whatever touches more than that begins a new one, in every slice. Slices that are neither wanted nor ours
 * by name go first: it is better to have too few devices for a moment than one that is gone.
 *
 * `kept`: what the server is known to make of lists of devices that it does not keep as they are.
 */
export function slicePlan(
  stored: readonly StoredSlice[],
  wanted: readonly ResourceSliceSpec[],
  kept: KeptDevices = new Map(),
): SlicePlan {
  const [first] = wanted;
  if (first === undefined) return { deletes: stored, updates: [], creates: [] };
  const names = wanted.map((_, index) => sliceName(first.nodeName, index));
  const byName = new Map(stored.map((slice) => [slice.metadata.name, slice]));
  const places = names.map((name) => {
    const slice = byName.get(name);
    // These two can never be changed.
    return slice?.spec.pool.name === first.pool.name && slice.spec.nodeName === first.nodeName ? slice : undefined;
  });
  const deletes = stored.filter((slice) => !places.includes(slice));
  const newest = Math.max(0, ...stored.map(({ spec }) => spec.pool.generation));
  const isSame = (at: number): boolean => {
    const slice = places[at];
    const spec = wanted[at];
    if (slice === undefined || spec === undefined) return false;
    const { generation, resourceSliceCount } = slice.spec.pool;
    return generation === newest && resourceSliceCount === wanted.length && isKept(slice, spec, kept);
  };
  const changed = wanted.flatMap((_, at) => (isSame(at) ? [] : [at]));
  if (changed.length === 0) return { deletes, updates: [], creates: [] };
  const isAlone =
    changed.length === 1 &&
    deletes.length === 0 &&
    places.every(
      (slice) => slice?.spec.pool.resourceSliceCount === wanted.length && slice.spec.pool.generation === newest,
    );
  const generation = isAlone ? newest : newest + 1;
  const plan = {
    deletes,
    updates: [] as SlicePlan['updates'][number][],
    creates: [] as SlicePlan['creates'][number][],
  };
  for (const [at, spec] of wanted.entries()) {
    if (isAlone && !changed.includes(at)) continue;
    const whole = { ...spec, pool: { ...spec.pool, generation } };
    const slice = places[at];
    if (slice === undefined) plan.creates.push({ name: names[at] ?? '', spec: whole });
    else plan.updates.push({ stored: slice, spec: whole });
  }
  return plan;
}
