import { NabuError } from '../../common/errors/index.ts';

/** How a blob is cut. Parsed from `ec:K+M` or `replica:N`; replication is k = 1, m = N - 1. */
export type Policy = {
  readonly kind: 'ec' | 'replica';
  readonly k: number;
  readonly m: number;
  /** The canonical text, `ec:4+2`. */
  readonly name: string;
  /** W: an acknowledged put lies on at least this many distinct nodes. */
  readonly quorum: number;
};

export const MAX_K = 16;
export const MAX_M = 8;
/** Log blobs below this are replicated: the parity of a small batch would cost more than copies of it. */
export const SMALL_LOG_BYTES = 256 * 1024;

const EC = /^ec:([1-9]\d?)\+([1-9])$/;
const REPLICA = /^replica:([1-9])$/;
const ALLOWED = ['ec:K+M (K 1-16, M 1-8)', 'replica:N (N 1-9)'];

/** Of an erasure-coded blob any m nodes may be lost, and no node holds more than m shards; of replicas a majority must be there. */
function quorumOf(kind: Policy['kind'], k: number, m: number): number {
  return kind === 'ec' ? Math.max(m + 1, Math.ceil((k + m) / m)) : Math.floor((k + m) / 2) + 1;
}

function ecPolicy(k: number, m: number): Policy {
  return { kind: 'ec', k, m, name: `ec:${k}+${m}`, quorum: quorumOf('ec', k, m) };
}

function replicaPolicy(copies: number): Policy {
  const m = copies - 1;
  return { kind: 'replica', k: 1, m, name: `replica:${copies}`, quorum: quorumOf('replica', 1, m) };
}

/** Throws POLICY_UNKNOWN for anything but `ec:K+M` with K 1..16, M 1..8 and `replica:N` with N 1..9. */
export function parsePolicy(text: string): Policy {
  const ec = EC.exec(text);
  if (ec !== null) {
    const k = Number(ec[1]);
    const m = Number(ec[2]);
    if (k <= MAX_K && m <= MAX_M) return ecPolicy(k, m);
  }
  const replica = REPLICA.exec(text);
  if (replica !== null) return replicaPolicy(Number(replica[1]));
  throw NabuError.of('POLICY_UNKNOWN', { policy: text, allowed: ALLOWED });
}

/** Shards of one blob. */
export function shardCount(policy: Policy): number {
  return policy.k + policy.m;
}

/** How many nodes a write may try and a read may ask. */
export function walkLimit(policy: Policy): number {
  return 2 * shardCount(policy);
}

/** More than m shards in one domain would let one failure lose the blob; a single copy has no choice. */
export function domainShardLimit(policy: Policy): number {
  return Math.max(1, policy.m);
}

/**
 * The policy of one log blob of a volume. Small blobs of an erasure-coded volume become m + 1 copies on as many nodes, all
 * of which must confirm: then losing any m nodes leaves one, as with the stripe.
 */
export function logPolicy(volume: Policy, blobLength: number): Policy {
  if (volume.kind === 'replica' || blobLength >= SMALL_LOG_BYTES) return volume;
  const copies = volume.m + 1;
  return { ...replicaPolicy(copies), quorum: copies };
}

/** Raw bytes that `sizeBytes` of data take when stored: (k + m) / k times as much, rounded up. */
export function rawBytes(policy: Policy, sizeBytes: bigint): bigint {
  const k = BigInt(policy.k);
  return (sizeBytes * BigInt(shardCount(policy)) + k - 1n) / k;
}

/** The data bytes that fit into `raw` bytes, rounded down. */
export function usableBytes(policy: Policy, raw: bigint): bigint {
  return (raw * BigInt(policy.k)) / BigInt(shardCount(policy));
}
