import { z } from 'zod';
import { isNodeId, isVolumeId, parsePolicy, stampOfMs, volumeId } from '../blob/index.ts';
import type { Volume as ControlVolume } from '../control/index.ts';
import { FAILURE_DOMAINS } from '../placement/index.ts';
import type { VolumeSpec } from './home-nodes.ts';

const decimal = z.string().regex(/^\d{1,20}$/);

/** What the keeper keeps beside the ring: all that a server needs to take a volume over without control. At most 8 KiB. */
export const volumeMetaSchema = z.strictObject({
  version: z.literal(1),
  id: z.string().refine(isVolumeId),
  sizeBytes: decimal,
  policy: z.string(),
  homeSet: z.array(z.string().refine(isNodeId)).min(1),
  homeSetVersion: decimal,
  createdMs: z.number(),
  failureDomain: z.enum(FAILURE_DOMAINS),
  maxShardsPerDomain: z.int().min(1),
  generation: decimal,
  readOnly: z.boolean(),
  ioTimeoutMs: z.int().min(0),
});

export type VolumeMeta = z.output<typeof volumeMetaSchema>;

export type OpenMode = { readonly generation: bigint; readonly readOnly: boolean; readonly ioTimeoutMs: number };

/** From control's record. INVALID_ARGUMENT (of the parsers) when control says something that cannot be. */
export function metaOf(volume: ControlVolume, mode: OpenMode): VolumeMeta {
  return volumeMetaSchema.parse({
    version: 1,
    id: volume.id,
    sizeBytes: volume.sizeBytes.toString(),
    policy: volume.policy,
    homeSet: volume.homeSet,
    homeSetVersion: volume.homeSetVersion.toString(),
    createdMs: Number(volume.createdMs),
    failureDomain: volume.failureDomain,
    maxShardsPerDomain: Math.max(1, volume.maxShardsPerDomain),
    generation: mode.generation.toString(),
    readOnly: mode.readOnly,
    ioTimeoutMs: mode.ioTimeoutMs,
  });
}

export function specOf(meta: VolumeMeta): VolumeSpec {
  return {
    id: volumeId(meta.id),
    sizeBytes: BigInt(meta.sizeBytes),
    policy: parsePolicy(meta.policy),
    homeSet: meta.homeSet,
    homeSetVersion: BigInt(meta.homeSetVersion),
    createdStamp: stampOfMs(meta.createdMs),
    failureDomain: meta.failureDomain,
    maxShardsPerDomain: meta.maxShardsPerDomain,
  };
}
