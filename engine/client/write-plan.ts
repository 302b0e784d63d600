import { domainShardLimit, type NodeId, type Policy, shardCount } from '../blob/index.ts';

export type WriteSituation = {
  readonly policy: Policy;
  readonly maxShardsPerDomain: number;
  /** Home of shard i; may be shorter than k + m where the map has too few domains. */
  readonly owners: readonly NodeId[];
  /** Owners first, then further nodes, in the order to try. */
  readonly walk: readonly NodeId[];
  readonly domainOf: (node: NodeId) => string;
  /** By the map, by the client's evidence, and by what the node said to this put. */
  readonly usable: (node: NodeId) => boolean;
  /** Who holds shard i or is being sent it. */
  readonly placed: readonly (NodeId | undefined)[];
  /** Whether to walk around owners that are not usable. */
  readonly degraded: 'allow' | 'wait';
};

export type WritePlan = {
  /** New assignments; empty when nothing can be done now, or everything is placed. */
  readonly assign: readonly { readonly shard: number; readonly node: NodeId }[];
  /** With these, every shard is placed, or for replicas the quorum is met, on at least W distinct nodes. */
  readonly complete: boolean;
};

/** Shards per node and per failure domain, as they are and as the plan adds to them. */
class Load {
  readonly #domainOf: (node: NodeId) => string;
  readonly #nodes = new Map<NodeId, number>();
  readonly #domains = new Map<string, number>();

  constructor(domainOf: (node: NodeId) => string, placed: readonly (NodeId | undefined)[]) {
    this.#domainOf = domainOf;
    for (const node of placed) if (node !== undefined) this.add(node);
  }

  get distinctNodes(): number {
    return this.#nodes.size;
  }

  add(node: NodeId): void {
    const domain = this.#domainOf(node);
    this.#nodes.set(node, this.onNode(node) + 1);
    this.#domains.set(domain, this.inDomainOf(node) + 1);
  }

  onNode(node: NodeId): number {
    return this.#nodes.get(node) ?? 0;
  }

  inDomainOf(node: NodeId): number {
    return this.#domains.get(this.#domainOf(node)) ?? 0;
  }
}

/** The least loaded domain, then the least loaded node, ties in the order of the walk. */
function leastLoaded(candidates: readonly NodeId[], load: Load, fits: (node: NodeId) => boolean): NodeId | undefined {
  let best: NodeId | undefined;
  let bestCost = Number.POSITIVE_INFINITY;
  for (const node of candidates) {
    if (!fits(node)) continue;
    const cost = load.inDomainOf(node) * 64 + load.onNode(node);
    if (cost < bestCost) {
      best = node;
      bestCost = cost;
    }
  }
  return best;
}

/**
 * Where the shards that are not placed yet should go. Pure. Each goes home if its owner is usable and free of others; otherwise
 * to a node in a domain with room; otherwise erasure-coded ones double up, as evenly as possible and never more than m in a
 * domain, because then one failure could lose the blob. Copies of a replicated blob never share a node.
 */
export function planWrite(situation: WriteSituation): WritePlan {
  const { policy, maxShardsPerDomain, owners, walk, usable, placed } = situation;
  const load = new Load(situation.domainOf, placed);
  const assign: { shard: number; node: NodeId }[] = [];
  const take = (shard: number, node: NodeId): void => {
    assign.push({ shard, node });
    load.add(node);
  };
  const domainLimit = domainShardLimit(policy);
  const copies = policy.k === 1;
  const homeless: number[] = [];
  for (let shard = 0; shard < shardCount(policy); shard++) {
    if (placed[shard] !== undefined) continue;
    const owner = owners[shard];
    const fits = owner !== undefined && usable(owner) && load.inDomainOf(owner) < domainLimit;
    if (fits && !(copies && load.onNode(owner) > 0)) take(shard, owner);
    else homeless.push(shard);
  }
  if (situation.degraded === 'allow') {
    for (const shard of homeless) {
      const node =
        leastLoaded(
          walk,
          load,
          (candidate) =>
            usable(candidate) && load.onNode(candidate) === 0 && load.inDomainOf(candidate) < maxShardsPerDomain,
        ) ??
        leastLoaded(
          walk,
          load,
          (candidate) =>
            usable(candidate) && load.inDomainOf(candidate) < domainLimit && !(copies && load.onNode(candidate) > 0),
        );
      if (node === undefined) break;
      take(shard, node);
    }
  }
  const total = placed.filter((node) => node !== undefined).length + assign.length;
  const enough = copies ? policy.quorum : shardCount(policy);
  return { assign, complete: total >= enough && load.distinctNodes >= policy.quorum };
}

/** Bit i: shard i does not lie with its owner. */
export function missingMaskOf(
  owners: readonly NodeId[],
  placed: readonly (NodeId | undefined)[],
  shards: number,
): number {
  let mask = 0;
  for (let shard = 0; shard < shards; shard++) {
    const node = placed[shard];
    if (node === undefined || node !== owners[shard]) mask |= 1 << shard;
  }
  return mask >>> 0;
}
