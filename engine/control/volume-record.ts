import { z } from 'zod';
import { isNodeId, isVolumeId, type NodeId, type VolumeId } from '../blob/index.ts';
import { FAILURE_DOMAINS, type FailureDomain } from '../placement/index.ts';

export const VOLUME_KIND = 'volume';

export const PROVISIONINGS = ['thick', 'thin'] as const;
/** thick: space is reserved at creation. thin: only what is written counts. */
export type Provisioning = (typeof PROVISIONINGS)[number];

export type VolumeAttachment = { readonly nodeName: string; readonly generation: bigint; readonly readOnly: boolean };

/** What a volume is, apart from what happens to it. */
export type VolumeSpec = {
  readonly name: string;
  readonly sizeBytes: bigint;
  /** Canonical policy text. */
  readonly policy: string;
  readonly failureDomain: FailureDomain;
  readonly maxShardsPerDomain: number;
  readonly provisioning: Provisioning;
  readonly tier: string;
  readonly parameters: Readonly<Record<string, string>>;
};

/** The durable record of a volume: what control knows, as read from the resource store. */
export type VolumeRecord = VolumeSpec & {
  readonly id: VolumeId;
  readonly homeSet: readonly NodeId[];
  readonly homeSetVersion: bigint;
  readonly attachment: VolumeAttachment | null;
  /** The highest attach generation ever given. */
  readonly generation: bigint;
  readonly state: 'ready' | 'deleting';
  readonly createdMs: number;
};

const decimal = z
  .string()
  .regex(/^\d{1,20}$/)
  .transform(BigInt);

const recordSchema = z.strictObject({
  id: z.string().refine(isVolumeId),
  name: z.string(),
  sizeBytes: decimal,
  policy: z.string(),
  failureDomain: z.enum(FAILURE_DOMAINS),
  maxShardsPerDomain: z.int().positive(),
  provisioning: z.enum(PROVISIONINGS),
  tier: z.string(),
  parameters: z.record(z.string(), z.string()),
  homeSet: z.array(z.string().refine(isNodeId)),
  homeSetVersion: decimal,
  attachment: z.nullable(z.strictObject({ nodeName: z.string(), generation: decimal, readOnly: z.boolean() })),
  generation: decimal,
  state: z.enum(['ready', 'deleting']),
  createdMs: z.int(),
});

/** Throws a ZodError on a body that this release did not write. */
export function parseVolumeRecord(body: unknown): VolumeRecord {
  return recordSchema.parse(body);
}

/** As JSON: 64-bit numbers become decimal text. */
export function volumeRecordBody(record: VolumeRecord): unknown {
  const { attachment } = record;
  return {
    ...record,
    sizeBytes: record.sizeBytes.toString(),
    homeSetVersion: record.homeSetVersion.toString(),
    generation: record.generation.toString(),
    attachment: attachment === null ? null : { ...attachment, generation: attachment.generation.toString() },
  };
}

/**
 * The name under which the store indexes the record. A volume that is being deleted gives its name back at once: its space may
 * take long to free (a node is away) and whoever deleted it may want the name again. NUL cannot be part of a volume's name.
 */
export function indexedName(record: VolumeRecord): string | null {
  return record.state === 'deleting' ? null : record.name;
}
