import { domainShardLimit, logPolicy, type Policy, shardCount } from '../blob/index.ts';

/**
 * How many nodes of a volume's home set must confirm what, so that no acknowledged write is ever overlooked. N is the size of
 * the home set, A the fewest distinct nodes that any acknowledged log blob of the volume lies on.
 */
export type HomeQuorum = {
  /** N - (A - 1): what is left unfenced cannot hold an acknowledged put. For ec:K+M that is all but m. */
  readonly fence: number;
  /** Copies of a note before it is relied on: as many as a fence, and enough that losing m nodes leaves one. */
  readonly noteWrite: number;
  /** Nodes whose word on "which note is the newest" must be heard: every set of them meets every set of `noteWrite`. */
  readonly noteRead: number;
};

/** The forms in which a log blob of the volume may be stored: the striped one, and copies for small blobs. */
export function logForms(policy: Policy): readonly Policy[] {
  const small = logPolicy(policy, 0);
  return small === policy ? [policy] : [policy, small];
}

/** A: fewer distinct nodes than this never make an acknowledgement. */
export function fewestAckNodes(policy: Policy): number {
  return Math.min(...logForms(policy).map((form) => form.quorum));
}

export function homeQuorum(policy: Policy, homeSize: number): HomeQuorum {
  const fewest = fewestAckNodes(policy);
  const fence = Math.max(1, homeSize - (fewest - 1));
  const noteWrite = Math.min(homeSize, Math.max(fence, fewest));
  return { fence, noteWrite, noteRead: homeSize - noteWrite + 1 };
}

/** What a probe of every home node for one log key gave. A silent node is one that did not answer, may not say, or is not fenced. */
export type ProbeTally = {
  /** Distinct shard indices seen anywhere, silent nodes included. */
  readonly shardsFound: number;
  /** Nodes that hold at least one shard and are not silent. */
  readonly nodesFound: number;
  readonly nodesSilent: number;
};

/**
 * Whether no acknowledgement in this form can have been given: too few shards, or too few nodes, even if every silent node
 * held as much as the write rules allow. The fenced nodes' answers do not change any more, so neither does this.
 */
export function isProvenUnacknowledged(form: Policy, tally: ProbeTally): boolean {
  const shardsPossible = tally.shardsFound + tally.nodesSilent * domainShardLimit(form);
  const nodesPossible = tally.nodesFound + tally.nodesSilent;
  // Of replicas a quorum of copies is an acknowledgement, of a stripe only all shards are.
  const shardsNeeded = form.k === 1 ? form.quorum : shardCount(form);
  return shardsPossible < shardsNeeded || nodesPossible < form.quorum;
}

/** The same when nothing of the blob was found, so that its form is not known. */
export function isProvenAbsent(policy: Policy, tally: ProbeTally): boolean {
  return logForms(policy).every((form) => isProvenUnacknowledged(form, tally));
}
