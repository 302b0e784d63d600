import { NabuError } from '../../common/errors/index.ts';
import { type BlobKey, blobKeyHex, domainShardLimit, type NodeId, type Policy, shardCount } from '../blob/index.ts';

/** What all that was asked about a blob adds up to. */
export type ReadEvidence = {
  readonly key: BlobKey;
  readonly policy: Policy;
  /** Distinct good shards of the stripe of which most were found. */
  readonly found: number;
  /** Nodes that hold or held a shard of the blob, good or corrupt. */
  readonly holders: number;
  /** Shards that were there and failed their checksums. */
  readonly corrupt: number;
  /** Nodes that gave no answer in time. */
  readonly silent: readonly NodeId[];
  /** Nodes that may not say absent: their store is younger than the blob may be. */
  readonly unknown: readonly NodeId[];
};

/**
 * Whether an acknowledged put is ruled out: it has shards on W nodes and, if erasure-coded, all k + m of them. A store says
 * absent only of what it never held or was told to delete; one that may not say so counts as silent.
 */
function neverAcknowledged({ policy, found, holders, corrupt, silent, unknown }: ReadEvidence): boolean {
  const doubtful = silent.length + unknown.length;
  if (holders + doubtful < policy.quorum) return true;
  return policy.k > 1 && found + corrupt + doubtful * domainShardLimit(policy) < shardCount(policy);
}

/** Why a blob could not be read. Silence is not absence. */
export function readVerdict(evidence: ReadEvidence): NabuError {
  const { key, policy, found, holders, corrupt, silent, unknown } = evidence;
  const hex = blobKeyHex(key);
  const doubtful = [...silent, ...unknown];
  if (neverAcknowledged(evidence)) return NabuError.of('BLOB_NOT_FOUND', { key: hex });
  const reason = reasonOf(silent, unknown, corrupt);
  if (holders === 0) return NabuError.of('BLOB_UNKNOWN', { key: hex, reason, nodes: doubtful });
  if (doubtful.length === 0) return NabuError.of('BLOB_LOST', { key: hex, found, needed: policy.k });
  return NabuError.of('BLOB_UNREADABLE', { key: hex, found, needed: policy.k, reason, nodes: doubtful });
}

function reasonOf(silent: readonly NodeId[], unknown: readonly NodeId[], corrupt: number): string {
  const parts: string[] = [];
  if (silent.length > 0) parts.push(`no answer from ${silent.join(', ')}`);
  if (unknown.length > 0) parts.push(`${unknown.join(', ')} lost earlier contents and cannot tell`);
  if (corrupt > 0) parts.push(`${corrupt} failed their checksums`);
  return parts.length === 0 ? 'no node has more' : parts.join('; ');
}
