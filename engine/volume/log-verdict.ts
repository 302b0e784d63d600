import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import {
  type BlobKey,
  blobKeyHex,
  type NodeId,
  type Policy,
  type StripeId,
  shardCount,
  stripeIdHex,
} from '../blob/index.ts';
import type { BlobStore, GetResult, ProbeAnswer, ShardFound } from '../client/index.ts';
import { isProvenAbsent, isProvenUnacknowledged, logForms } from './home-quorum.ts';

/** What the home nodes say about one log key, read as evidence. */
export type Evidence = {
  /** The best stripe there is: most shards. */
  readonly best:
    | { readonly stripeId: StripeId; readonly form: Policy; readonly blobLength: number; readonly shards: number }
    | undefined;
  readonly unacknowledged: boolean;
  /** Every shard is on a node that we fenced, on enough nodes: nothing to complete. */
  readonly complete: boolean;
  readonly silent: readonly NodeId[];
};

type StripeSeen = {
  readonly first: ShardFound;
  readonly form: Policy;
  readonly indices: Set<number>;
  readonly nodes: Set<NodeId>;
};

/**
 * Pure. A node that is not fenced by us may still take shards of the old writer after it answered, so its "absent" is worth
 * nothing: it counts as silent, as UNKNOWN does. What it has found counts all the same.
 */
export function weighEvidence(
  policy: Policy,
  answers: ReadonlyMap<NodeId, ProbeAnswer>,
  isFenced: (node: NodeId) => boolean,
): Evidence {
  const stripes = new Map<string, StripeSeen>();
  const silent: NodeId[] = [];
  const holders = new Set<NodeId>();
  for (const [node, answer] of answers) {
    const heard = isFenced(node) && (answer.state === 'found' || answer.state === 'absent');
    if (!heard) silent.push(node);
    if (answer.state !== 'found') continue;
    for (const shard of answer.shards) if (addShard(stripes, policy, node, shard) && heard) holders.add(node);
  }
  const seen = [...stripes.values()].sort((a, b) => b.indices.size - a.indices.size);
  const tally = { nodesFound: holders.size, nodesSilent: silent.length };
  const unacknowledged =
    seen.length === 0
      ? isProvenAbsent(policy, { ...tally, shardsFound: 0 })
      : seen.every((stripe) => isProvenUnacknowledged(stripe.form, { ...tally, shardsFound: stripe.indices.size }));
  const best = seen[0];
  if (best === undefined) return { best: undefined, unacknowledged, complete: false, silent };
  const fenced = [...best.nodes].filter(isFenced).length;
  return {
    best: {
      stripeId: best.first.stripeId,
      form: best.form,
      blobLength: best.first.blobLength,
      shards: best.indices.size,
    },
    unacknowledged,
    complete: best.indices.size === shardCount(best.form) && fenced >= best.form.quorum && fenced === best.nodes.size,
    silent,
  };
}

/** False for a shard of a form that no log blob of this volume has. */
function addShard(stripes: Map<string, StripeSeen>, policy: Policy, node: NodeId, shard: ShardFound): boolean {
  const form = logForms(policy).find(({ k, m }) => k === shard.k && m === shard.m);
  if (form === undefined) return false;
  const id = `${stripeIdHex(shard.stripeId)}/${form.name}`;
  const seen = stripes.get(id) ?? { first: shard, form, indices: new Set<number>(), nodes: new Set<NodeId>() };
  seen.indices.add(shard.shardIndex);
  seen.nodes.add(node);
  stripes.set(id, seen);
  return true;
}

export type Verdict =
  | { readonly kind: 'accepted'; readonly image: GetResult; readonly form: Policy; readonly complete: boolean }
  | { readonly kind: 'unacknowledged'; readonly shardsFound: number };

export type VerdictRequest = {
  readonly blobs: BlobStore;
  readonly policy: Policy;
  readonly homeSet: readonly NodeId[];
  readonly key: BlobKey;
  /** The oldest stamp the blob can have. */
  readonly askStamp: bigint;
  readonly isFenced: (node: NodeId) => boolean;
  readonly deadline: Deadline;
};

const READ_TIMEOUT_MS = 10_000;

/** One look: accepted, proven unacknowledged, or (undefined, with the silent nodes) neither. */
export async function tryVerdict(
  request: VerdictRequest,
): Promise<Verdict | { readonly kind: 'open'; readonly evidence: Evidence }> {
  const answers = await request.blobs.probe({
    key: request.key,
    nodes: request.homeSet,
    askStamp: request.askStamp,
    deadline: request.deadline,
  });
  const evidence = weighEvidence(request.policy, answers, request.isFenced);
  const { best } = evidence;
  if (best !== undefined && best.shards >= best.form.k) {
    const image = await readWhole(request, best);
    if (image !== undefined) return { kind: 'accepted', image, form: best.form, complete: evidence.complete };
  }
  return evidence.unacknowledged
    ? { kind: 'unacknowledged', shardsFound: best?.shards ?? 0 }
    : { kind: 'open', evidence };
}

/** Undefined when it cannot be read now; the shards that looked readable may be corrupt or their nodes gone again. */
async function readWhole(request: VerdictRequest, best: NonNullable<Evidence['best']>): Promise<GetResult | undefined> {
  using deadline = request.deadline.within(`reading log blob ${blobKeyHex(request.key)}`, READ_TIMEOUT_MS);
  try {
    return await request.blobs.get({
      key: request.key,
      policy: best.form,
      blobLength: best.blobLength,
      stripeId: best.stripeId,
      homeSet: request.homeSet,
      deadline,
    });
  } catch (err) {
    if (NabuError.is(err) && !NabuError.is(err, 'INTERNAL', 'INVALID_ARGUMENT')) return undefined;
    throw err;
  }
}
