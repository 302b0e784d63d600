import { createHash } from 'node:crypto';
import { z } from 'zod';

/** What a claim that is prepared holds, and all that is needed to make its files again without the API server. */
const deviceSchema = z.strictObject({
  /** Of the claim; a subrequest as 'a/b'. */
  request: z.string(),
  pool: z.string(),
  /** As the ResourceSlice names it. */
  name: z.string(),
  shareId: z.string().optional(),
  /** A PCI address. */
  device: z.string(),
  resource: z.string(),
  /** How much of it; 0 for admin access, 'all' where it was allocated whole. */
  slots: z.union([z.int().min(0), z.literal('all')]),
});

const grantedDeviceSchema = z.strictObject({
  containerPath: z.string(),
  hostPath: z.string(),
  permissions: z.enum(['r', 'rw', 'rwm']),
});

const grantSchema = z.strictObject({
  devices: z.array(grantedDeviceSchema),
  mounts: z.array(z.strictObject({ containerPath: z.string(), hostPath: z.string(), readOnly: z.boolean() })),
  environment: z.record(z.string(), z.string()),
});

const recordSchema = z.strictObject({
  /** Device files have other numbers after a boot. */
  bootId: z.string(),
  claim: z.strictObject({ namespace: z.string(), name: z.string(), uid: z.string() }),
  devices: z.array(deviceSchema),
  /** In the order of `devices`. */
  grants: z.array(grantSchema),
  /** Files of the claim's own folder by name. */
  files: z.record(z.string().regex(/^[A-Za-z][\w.-]{0,63}$/), z.string()),
});

const fileSchema = z.strictObject({ version: z.literal(1), sha256: z.string(), record: recordSchema });

export type ClaimRecord = z.output<typeof recordSchema>;
export type HeldDevice = z.output<typeof deviceSchema>;
export type HeldGrant = z.output<typeof grantSchema>;

function digestOf(record: ClaimRecord): string {
  return createHash('sha256').update(JSON.stringify(record)).digest('hex');
}

export function recordText(record: ClaimRecord): string {
  const checked = recordSchema.parse(record);
  return `${JSON.stringify({ version: 1, sha256: digestOf(checked), record: checked })}\n`;
}

/** The record, or why there is none in the text. Pure. */
export function parseRecord(text: string, uid: string): ClaimRecord | { readonly why: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { why: 'it is not JSON' };
  }
  const parsed = fileSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return { why: `${issue?.path.join('.') || 'the whole'}: ${issue?.message ?? 'refused'}` };
  }
  const { record, sha256 } = parsed.data;
  if (digestOf(record) !== sha256) return { why: 'its checksum is another' };
  return record.claim.uid === uid ? record : { why: `it is of claim ${record.claim.uid}` };
}
