import { type NodeId, type Policy, type StripeId, type StripeIdHex, shardCount, stripeIdHex } from '../blob/index.ts';
import type { ProbeAnswer } from './types.ts';

/** Nodes that may have shard i, in the order to ask them. */
export type ShardSources = readonly (readonly NodeId[])[];

/** A stripe of a key as the nodes' answers show it. */
export type LocatedStripe = {
  readonly stripeId: StripeId;
  readonly blobLength: number;
  readonly shardLength: number;
  readonly sources: ShardSources;
  /** Distinct shards with a source. */
  readonly found: number;
  /** The latest of its shards' stamps. */
  readonly stamp: bigint;
};

type Collected = { stripeId: StripeId; blobLength: number; shardLength: number; stamp: bigint; sources: NodeId[][] };

/** Names one copy of one shard. */
export function copyName(node: NodeId, shard: number): string {
  return `${node}/${shard}`;
}

/**
 * The stripes that the answers tell of, the most complete first, then the latest. Copies in `bad` (read, and corrupt or not
 * given) and stripes of another policy are left out.
 */
export function locateStripes(
  answers: ReadonlyMap<NodeId, ProbeAnswer>,
  policy: Policy,
  bad: ReadonlySet<string>,
): LocatedStripe[] {
  const stripes = new Map<StripeIdHex, Collected>();
  for (const [node, answer] of answers) {
    if (answer.state !== 'found') continue;
    for (const shard of answer.shards) {
      if (shard.k !== policy.k || shard.m !== policy.m) continue;
      const name = stripeIdHex(shard.stripeId);
      const { stripeId, blobLength, shardLength, stamp, shardIndex } = shard;
      const empty = (): NodeId[][] => Array.from({ length: shardCount(policy) }, () => []);
      const stripe = stripes.get(name) ?? { stripeId, blobLength, shardLength, stamp, sources: empty() };
      stripes.set(name, stripe);
      if (stamp > stripe.stamp) stripe.stamp = stamp;
      if (!bad.has(copyName(node, shardIndex))) stripe.sources[shardIndex]?.push(node);
    }
  }
  return [...stripes.values()]
    .map((stripe) => ({ ...stripe, found: stripe.sources.filter((nodes) => nodes.length > 0).length }))
    .sort((a, b) => b.found - a.found || (a.stamp < b.stamp ? 1 : a.stamp > b.stamp ? -1 : 0));
}
