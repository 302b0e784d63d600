import { domainShardLimit, shardCount } from '../../engine/blob/index.ts';
import type { ClusterIndex } from '../cluster/index.ts';
import type { MadeVolume, Need, WantedVolume } from '../need/index.ts';
import { sizeText } from './size-text.ts';

/** Capacity that is spoken for and that nothing shows yet. */
export type CapacityHolds = {
  /** Raw bytes, without those for the claims named: they are the pod's own. */
  heldBytes(own: readonly { readonly claimKey: string }[]): number;
  unpublishedBytes(capacityKey: string, own: readonly { readonly claimKey: string }[]): number;
};

const some = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

/** Why no node of the zone can have the volume made, or undefined. Names what is missing and what there is. */
export function refusePlacing(wanted: WantedVolume, zone: string, index: ClusterIndex): string | undefined {
  const { policy, failureDomain, maxShardsPerDomain, claimKey } = wanted;
  const { placing, up } = index.storage.reach(zone, failureDomain);
  // As control will judge (engine/placement, assertPolicyFits).
  const perDomain = Math.max(1, Math.min(maxShardsPerDomain, domainShardLimit(policy)));
  const needed = Math.max(Math.ceil(shardCount(policy) / perDomain), policy.quorum);
  const volume = `policy ${policy.name} of claim ${claimKey}`;
  if (placing < needed)
    return `${volume} needs ${some(needed, failureDomain)} with storage, zone ${zone} can reach ${placing}`;
  if (up < policy.quorum)
    return `${volume} needs ${some(policy.quorum, failureDomain)} with storage that answer, zone ${zone} can reach ${up}`;
  return undefined;
}

/** Why no node of the zone can use a volume that is there, or undefined. */
export function refuseReaching(made: MadeVolume, zone: string, index: ClusterIndex): string | undefined {
  const { record, zones, claimKey } = made;
  if (zones.length > 0 && !zones.includes(zone))
    return `volume ${claimKey} can be reached from zone ${zones.join(', ')}, not from ${zone}`;
  if (record === undefined || record.homeSet.length === 0 || index.storage.isUnknown) return undefined;
  // What is left has to hold whole stripes, and a fence has to reach enough to attach it.
  const needed = Math.max(record.policy.k, record.policy.quorum);
  const up = index.storage.upAmong(record.homeSet, zone);
  if (up >= needed) return undefined;
  return `volume ${claimKey} needs ${needed} of its ${record.homeSet.length} storage nodes, ${up} answer zone ${zone}`;
}

/** Why the cluster as a whole has no room, or undefined. */
export function refuseForSpace(need: Need, index: ClusterIndex, holds: CapacityHolds): string | undefined {
  const rawBytes = need.wanted.reduce((sum, wanted) => sum + wanted.rawBytes, 0);
  if (rawBytes === 0 || index.storage.isUnknown) return undefined;
  // What is published is newer: it decides alone until control has been read again.
  const isPublished = need.wanted.every(({ className }) => index.capacities.has(className));
  if (isPublished && index.storage.growth.isUnread) return undefined;
  const heldBytes = holds.heldBytes(need.wanted);
  const freeBytes = index.storage.freeBytes - heldBytes;
  if (rawBytes <= freeBytes) return undefined;
  const reserved = heldBytes > 0 ? `, ${sizeText(heldBytes)} being reserved for pods that go before` : '';
  return `its new volumes take ${sizeText(rawBytes)} with parity or copies, ${sizeText(freeBytes)} are free${reserved}`;
}

/**
 * Why the capacities that are published for a zone (or a node of it) have no room, or undefined. The in-tree volume binder reads the
 * same objects, so the two agree; only we know of pods that are on their way.
 */
export function refuseForPublished(
  need: Need,
  index: ClusterIndex,
  holds: CapacityHolds,
  zone: string,
  node: string,
): string | undefined {
  // By what the pod's own claims take, the next of them finds less.
  let takenBytes = 0;
  for (const { className, sizeBytes, rawBytes, policy, claimKey } of need.wanted) {
    if (!index.capacities.has(className)) continue;
    const published = index.capacities.published(className, zone, node);
    if (published === undefined)
      return `storage class ${className} of claim ${claimKey} has no capacity in zone ${zone}`;
    if (sizeBytes > published.maxVolumeBytes) {
      return `claim ${claimKey} asks for ${sizeText(sizeBytes)}, the largest volume of class ${className} in zone ${zone} is ${sizeText(published.maxVolumeBytes)}`;
    }
    if (rawBytes === 0) continue;
    const usableShare = policy.k / shardCount(policy);
    const unseenBytes = holds.unpublishedBytes(published.key, need.wanted) + takenBytes;
    const freeBytes = published.capacityBytes - unseenBytes * usableShare;
    if (sizeBytes > freeBytes) {
      return `claim ${claimKey} asks for ${sizeText(sizeBytes)}, class ${className} has ${sizeText(freeBytes)} in zone ${zone} beside what is reserved`;
    }
    takenBytes += rawBytes;
  }
  return undefined;
}
