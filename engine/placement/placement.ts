import { blake3 } from '@napi-rs/blake-hash';
import { NabuError } from '../../common/errors/index.ts';
import {
  type BlobKey,
  blobKey,
  domainShardLimit,
  type NodeId,
  ownerOf,
  type Policy,
  shardCount,
  type VolumeId,
  walkLimit,
} from '../blob/index.ts';
import { type ClusterMap, domainOf, type FailureDomain } from './cluster-map.ts';
import type { NodeIndex, Ring } from './ring.ts';

export type PlacementRules = {
  readonly failureDomain: FailureDomain;
  /** Shards of one blob in one failure domain; raised only as far as a cluster with too few domains needs, never above m. */
  readonly maxShardsPerDomain: number;
};

export const DEFAULT_RULES: PlacementRules = { failureDomain: 'host', maxShardsPerDomain: 1 };

export type Placement = {
  /** Owner of shard i. */
  readonly owners: readonly NodeId[];
  /** Owners (each once) first, then further nodes as the ring goes; at most 2(k+m). Where reads ask and writes try, in this order. */
  readonly walk: readonly NodeId[];
};

/** What placement needs to know of a map, computed once per map and failure domain. */
type Domains = { readonly ofNode: Uint16Array; readonly count: number; readonly available: number };

const domainsOfMap = new WeakMap<ClusterMap, Map<FailureDomain, Domains>>();

function domainsOf(map: ClusterMap, failureDomain: FailureDomain): Domains {
  let byKind = domainsOfMap.get(map);
  if (byKind === undefined) {
    byKind = new Map();
    domainsOfMap.set(map, byKind);
  }
  let domains = byKind.get(failureDomain);
  if (domains === undefined) {
    const numbers = new Map<string, number>();
    const ofNode = Uint16Array.from(map.nodes, (node) => {
      const name = domainOf(node, failureDomain);
      const number = numbers.get(name) ?? numbers.size;
      numbers.set(name, number);
      return number;
    });
    const owning = map.nodes.filter((node) => ownsShards(node.state));
    const available = new Set(owning.map((node) => domainOf(node, failureDomain))).size;
    domains = { ofNode, count: numbers.size, available };
    byKind.set(failureDomain, domains);
  }
  return domains;
}

/** A node that is down keeps its place, or a reboot would move data; one that drains gets nothing new. */
function ownsShards(state: string): boolean {
  return state === 'up' || state === 'down';
}

/** A mask over the map's nodes for `Ring.firstNodes`: which of them belong to the set. */
function maskOf(map: ClusterMap, ids: readonly NodeId[]): Uint8Array {
  const wanted = new Set<string>(ids);
  return Uint8Array.from(map.nodes, (node) => (wanted.has(node.id) ? 1 : 0));
}

const masks = new WeakMap<ClusterMap, WeakMap<readonly NodeId[], Uint8Array>>();

/** Home sets are long-lived arrays, so the array itself names its mask. */
function homeMask(map: ClusterMap, homeSet: readonly NodeId[]): Uint8Array {
  let ofMap = masks.get(map);
  if (ofMap === undefined) {
    ofMap = new WeakMap();
    masks.set(map, ofMap);
  }
  let mask = ofMap.get(homeSet);
  if (mask === undefined) {
    mask = maskOf(map, homeSet);
    ofMap.set(homeSet, mask);
  }
  return mask;
}

/**
 * Whether the policy can ever hold on this map: k + m shards with at most `maxShardsPerDomain` in one domain, and W nodes.
 * Throws POLICY_TOO_WIDE with the number of domains that it needs.
 */
export function assertPolicyFits(map: ClusterMap, policy: Policy, rules: PlacementRules = DEFAULT_RULES): void {
  const perDomain = Math.max(1, Math.min(rules.maxShardsPerDomain, domainShardLimit(policy)));
  const needed = Math.max(Math.ceil(shardCount(policy) / perDomain), policy.quorum);
  const { available } = domainsOf(map, rules.failureDomain);
  if (available < needed) throw NabuError.of('POLICY_TOO_WIDE', { policy: policy.name, needed, available });
}

/**
 * The home of a key's shards. Pure: the same map, key and rules give the same answer anywhere. With too few domains for the
 * rules the shards double up as evenly as they can, never more than m in a domain; where even that fails, fewer owners than
 * k + m come back and a write cannot succeed. `homeSet` limits the walk (log blobs of a volume).
 */
export function placeShards(
  map: ClusterMap,
  ring: Ring,
  key: BlobKey,
  policy: Policy,
  rules: PlacementRules = DEFAULT_RULES,
  homeSet?: readonly NodeId[],
): Placement {
  const limit = walkLimit(policy);
  const allowed = homeSet === undefined ? undefined : homeMask(map, homeSet);
  const domains = domainsOf(map, rules.failureDomain);
  const wanted = shardCount(policy);
  const used = new Uint8Array(domains.count);
  const owners: NodeIndex[] = [];
  const chosen = new Set<NodeIndex>();
  const met: NodeIndex[] = [];
  ring.firstNodes(key, map.nodes.length, allowed, (node) => {
    met.push(node);
    const domain = domains.ofNode[node] ?? 0;
    if (owners.length < wanted && ownsShards(stateOf(map, node)) && (used[domain] ?? 0) < rules.maxShardsPerDomain) {
      used[domain] = (used[domain] ?? 0) + 1;
      owners.push(node);
      chosen.add(node);
    }
    return owners.length === wanted && met.length >= limit;
  });
  if (owners.length < wanted) doubleUp(map, met, domains, policy, owners, chosen, used);
  return { owners: idsOf(map, owners), walk: walkOf(map, chosen, met, limit) };
}

/** Gives further shards to the nodes met, the least loaded domain and then node first, ties in ring order. */
function doubleUp(
  map: ClusterMap,
  met: readonly NodeIndex[],
  domains: Domains,
  policy: Policy,
  owners: NodeIndex[],
  chosen: Set<NodeIndex>,
  used: Uint8Array,
): void {
  const perDomain = domainShardLimit(policy);
  const load = new Map<NodeIndex, number>();
  for (const node of owners) load.set(node, (load.get(node) ?? 0) + 1);
  while (owners.length < shardCount(policy)) {
    let best: NodeIndex | undefined;
    let bestCost = Number.POSITIVE_INFINITY;
    for (const node of met) {
      const inDomain = used[domains.ofNode[node] ?? 0] ?? 0;
      const onNode = load.get(node) ?? 0;
      if (inDomain >= perDomain || !ownsShards(stateOf(map, node))) continue;
      if (policy.kind === 'replica' && onNode > 0) continue; // a second copy on one node protects from nothing
      const cost = inDomain * 256 + onNode;
      if (cost < bestCost) {
        best = node;
        bestCost = cost;
      }
    }
    if (best === undefined) return;
    const domain = domains.ofNode[best] ?? 0;
    used[domain] = (used[domain] ?? 0) + 1;
    load.set(best, (load.get(best) ?? 0) + 1);
    owners.push(best);
    chosen.add(best);
  }
}

function stateOf(map: ClusterMap, node: NodeIndex): string {
  return map.nodes[node]?.state ?? 'out';
}

function idsOf(map: ClusterMap, nodes: Iterable<NodeIndex>): NodeId[] {
  const ids: NodeId[] = [];
  for (const index of nodes) {
    const node = map.nodes[index];
    if (node !== undefined) ids.push(node.id);
  }
  return ids;
}

function walkOf(map: ClusterMap, owners: ReadonlySet<NodeIndex>, met: readonly NodeIndex[], limit: number): NodeId[] {
  const order = [...owners];
  for (const node of met) {
    if (order.length >= limit) break;
    if (!owners.has(node)) order.push(node);
  }
  return idsOf(map, order);
}

/** Where a volume's walk begins: a hash, because volume ids need not be evenly spread. */
export function volumePosition(volume: VolumeId): BlobKey {
  return blobKey(blake3(Buffer.concat([Buffer.from('nabu-home\0', 'latin1'), ownerOf(volume)])));
}

/**
 * The nodes that may hold a volume's log: from its id on the ring k + m in distinct failure domains, then on to 2(k+m); all
 * that take writes in a small cluster. Chosen once and kept in the volume's record; fences and replay ask these alone.
 */
export function homeSet(
  map: ClusterMap,
  ring: Ring,
  volume: VolumeId,
  policy: Policy,
  rules: PlacementRules = DEFAULT_RULES,
): NodeId[] {
  const eligible = map.nodes.filter((node) => ownsShards(node.state)).map((node) => node.id);
  return [...placeShards(map, ring, volumePosition(volume), policy, rules, eligible).walk];
}
