import type { ClusterIndex, Slot } from '../cluster/index.ts';
import type { Need } from '../need/index.ts';
import { DEFAULT_FILTER_RULES, FilterPass, type FilterRules, type Freed } from './filter-pass.ts';
import { PASSED, type Refusal } from './refusals.ts';
import type { CapacityHolds } from './zone-checks.ts';

/** Nothing is on its way. */
export const NO_HOLDS: CapacityHolds = { heldBytes: () => 0, unpublishedBytes: () => 0 };

/** Whether one node can take the pod: undefined, or why not. Pure. */
export function filterNode(
  need: Need,
  node: Slot,
  index: ClusterIndex,
  holds: CapacityHolds = NO_HOLDS,
  rules: FilterRules = DEFAULT_FILTER_RULES,
): Refusal | undefined {
  const pass = new FilterPass(need, index, holds, rules);
  const verdict = pass.of(node);
  return verdict === PASSED ? undefined : pass.refusals.list[verdict];
}

/** What the node has when these pods are gone. */
export function freedBy(podUids: readonly string[], node: Slot, index: ClusterIndex): Freed {
  const uids = new Set(podUids);
  const devices = new Map<string, number>();
  const claims = new Set<string>();
  for (const uid of uids) {
    const pod = index.pods.find(uid);
    if (pod === undefined || pod.slot !== node) continue;
    for (const [name, count] of pod.devices) devices.set(name, (devices.get(name) ?? 0) + count);
    for (const key of pod.claims) claims.add(key);
  }
  const isFreed = (key: string): boolean => {
    const volume = index.claims.volume(index.claims.find(key)?.volumeName ?? '');
    const leaving = [...index.claims.use(key).pods].filter(
      (uid) => uids.has(uid) && index.pods.find(uid)?.slot === node,
    );
    return volume.facts !== undefined && index.claims.use(key).slots.get(node) === leaving.length;
  };
  return { podUids: uids, volumes: [...claims].filter(isFreed).length, devices };
}
