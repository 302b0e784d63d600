import type { ClusterIndex } from '../cluster/index.ts';
import type { PodFacts } from '../kube/index.ts';
import type { Need } from '../need/index.ts';

/**
 * Whether the pod uses, or may use, something of ours: volumes, caches, devices, what its annotations name. A claim, volume or class
 * that nobody has told us of may turn out to be ours; so may what a claim without a class will be bound to. Pure.
 */
export function mayUseOurs(pod: PodFacts, need: Need, index: ClusterIndex): boolean {
  const { models, kvCache, near, locality } = pod.annotations;
  const isNamed = models !== '' || kvCache !== '' || near !== '' || locality !== '';
  const found = [need.made, need.wanted, need.readings, need.faults, need.unknown].some((list) => list.length > 0);
  return isNamed || found || need.devices.size > 0 || pod.claims.some(({ key }) => isOpen(key, index));
}

/** Waits for a volume that somebody makes by hand. */
function isOpen(claimKey: string, index: ClusterIndex): boolean {
  const claim = index.claims.find(claimKey);
  return claim !== undefined && claim.volumeName === '' && claim.className === '';
}
