import { NabuError } from '../../common/errors/index.ts';
import { BLOCK_BYTES, domainShardLimit, parsePolicy } from '../blob/index.ts';
import { FAILURE_DOMAINS } from '../placement/index.ts';
import { PROVISIONINGS, type VolumeRecord, type VolumeSpec } from './volume-record.ts';

export type VolumeRequest = {
  readonly name: string;
  readonly sizeBytes: bigint;
  /** 0n: no upper limit. */
  readonly limitBytes: bigint;
  readonly policy: string;
  readonly failureDomain: string;
  readonly maxShardsPerDomain: number;
  readonly provisioning: string;
  readonly tier: string;
  readonly parameters: Readonly<Record<string, string>>;
};

export const MAX_NAME_BYTES = 128;
const MAX_TIER_BYTES = 63;
const MAX_PARAMETERS = 64;
const MAX_PARAMETERS_BYTES = 4096;
/** CSI and every block layer below count in signed 64 bits. */
const MAX_SIZE = (1n << 63n) - 1n;
/** CSI 1.12, "Size Limits" and `CreateVolumeRequest.name`: these characters must be refused, all others taken. */
const BANNED = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/;

function invalid(field: string, reason: string): NabuError {
  return NabuError.of('INVALID_ARGUMENT', { field, reason });
}

export function checkName(field: string, name: string): void {
  if (name === '') throw invalid(field, 'is empty');
  const sizeBytes = Buffer.byteLength(name);
  if (sizeBytes > MAX_NAME_BYTES) throw invalid(field, `has ${sizeBytes} bytes, at most ${MAX_NAME_BYTES} are taken`);
  if (BANNED.test(name)) throw invalid(field, 'has a control character');
}

function oneOf<T extends string>(field: string, text: string, allowed: readonly T[], whenEmpty: T): T {
  if (text === '') return whenEmpty;
  const found = allowed.find((candidate) => candidate === text);
  if (found === undefined) throw invalid(field, `${JSON.stringify(text)} is not one of ${allowed.join(', ')}`);
  return found;
}

/** Whole blocks. Throws for 0 (INVALID_ARGUMENT) and for what does not fit into 63 bits (OUT_OF_RANGE). */
export function checkedSize(sizeBytes: bigint, limitBytes: bigint): bigint {
  if (sizeBytes <= 0n) throw invalid('sizeBytes', 'must be more than 0');
  const block = BigInt(BLOCK_BYTES);
  const rounded = ((sizeBytes + block - 1n) / block) * block;
  if (rounded > MAX_SIZE) {
    throw NabuError.of('OUT_OF_RANGE', {
      field: 'sizeBytes',
      reason: `${sizeBytes} is more than ${MAX_SIZE - (MAX_SIZE % block)}`,
    });
  }
  if (limitBytes > 0n && rounded > limitBytes) {
    const reason = `${sizeBytes} makes ${rounded} in whole blocks of ${block}, above the limit of ${limitBytes}`;
    throw NabuError.of('OUT_OF_RANGE', { field: 'sizeBytes', reason });
  }
  return rounded;
}

function checkParameters(parameters: Readonly<Record<string, string>>): void {
  const entries = Object.entries(parameters);
  const sizeBytes = entries.reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0);
  if (entries.length > MAX_PARAMETERS || sizeBytes > MAX_PARAMETERS_BYTES) {
    throw invalid(
      'parameters',
      `has ${entries.length} entries of ${sizeBytes} bytes, at most ${MAX_PARAMETERS} of ${MAX_PARAMETERS_BYTES} are taken`,
    );
  }
}

/** Parses what a caller wants of a new volume into something that cannot be wrong. Throws typed errors that name the field. */
export function parseVolumeSpec(request: VolumeRequest, defaultPolicy: string): VolumeSpec {
  checkName('name', request.name);
  const policy = parsePolicy(request.policy === '' ? defaultPolicy : request.policy);
  const maxShardsPerDomain = request.maxShardsPerDomain === 0 ? 1 : request.maxShardsPerDomain;
  if (maxShardsPerDomain > domainShardLimit(policy)) {
    throw invalid(
      'maxShardsPerDomain',
      `${maxShardsPerDomain} would let one failure lose data: ${policy.name} allows ${domainShardLimit(policy)}`,
    );
  }
  if (Buffer.byteLength(request.tier) > MAX_TIER_BYTES || BANNED.test(request.tier))
    throw invalid('tier', 'is no label of at most 63 bytes');
  checkParameters(request.parameters);
  return {
    name: request.name,
    sizeBytes: checkedSize(request.sizeBytes, request.limitBytes),
    policy: policy.name,
    failureDomain: oneOf('failureDomain', request.failureDomain, FAILURE_DOMAINS, 'host'),
    maxShardsPerDomain,
    provisioning: oneOf('provisioning', request.provisioning, PROVISIONINGS, 'thick'),
    tier: request.tier,
    parameters: request.parameters,
  };
}

function sameParameters(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

/**
 * A create that meets its name again is the same request when all but the size is equal and the size that is there lies
 * between the wanted one and the limit: the volume may have been expanded since. Returns the field that differs.
 */
export function differenceFrom(existing: VolumeRecord, wanted: VolumeSpec, limitBytes: bigint): string | undefined {
  if (existing.sizeBytes < wanted.sizeBytes || (limitBytes > 0n && existing.sizeBytes > limitBytes)) return 'sizeBytes';
  for (const field of ['policy', 'failureDomain', 'maxShardsPerDomain', 'provisioning', 'tier'] as const) {
    if (existing[field] !== wanted[field]) return field;
  }
  return sameParameters(existing.parameters, wanted.parameters) ? undefined : 'parameters';
}
