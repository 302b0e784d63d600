import type { SeededRandom } from '../../../common/ports/index.ts';
import { NODE } from './constants.ts';
import type { ServingPod } from './workload.ts';
import type { GpuNode } from './world.ts';

/** kube-scheduler 1.36, MaxNodeScore. */
export const MAX_NODE_SCORE = 100;
/** podtopologyspread, the system default constraints: by host and by zone, ScheduleAnyway. */
const HOST_MAX_SKEW = 3;
const ZONE_MAX_SKEW = 5;
const WEIGHT = { leastAllocated: 1, balancedAllocation: 1, podTopologySpread: 2 } as const;

/** noderesources, LeastAllocated over CPU and memory alike. */
function leastAllocated(node: GpuNode, pod: ServingPod): number {
  const free = (capacity: number, asked: number): number =>
    Math.floor(((capacity - asked) * MAX_NODE_SCORE) / capacity);
  const cpu = free(NODE.milliCpu, node.milliCpu + pod.milliCpu);
  return Math.floor((cpu + free(NODE.memoryMib, node.memoryMib + pod.memoryMib)) / 2);
}

function balance(milliCpu: number, memoryMib: number): number {
  const deviation = Math.abs(milliCpu / NODE.milliCpu - memoryMib / NODE.memoryMib) / 2;
  return Math.floor((1 - deviation) * MAX_NODE_SCORE);
}

/** noderesources, BalancedAllocation: by what the pod changes. */
function balancedAllocation(node: GpuNode, pod: ServingPod): number {
  const after = balance(node.milliCpu + pod.milliCpu, node.memoryMib + pod.memoryMib);
  const before = balance(node.milliCpu, node.memoryMib);
  return Math.floor(MAX_NODE_SCORE / 2 + (MAX_NODE_SCORE / 2 + after - before) / 2);
}

/** podtopologyspread over the replicas of one model, which are a ReplicaSet. */
function spreads(all: readonly GpuNode[], candidates: readonly GpuNode[], { model }: ServingPod): number[] {
  const inZone = new Map(candidates.map(({ zone }) => [zone, 0]));
  for (const { zone, podsOfModel } of all) {
    const count = inZone.get(zone);
    if (count !== undefined) inZone.set(zone, count + (podsOfModel.get(model) ?? 0));
  }
  const byHost = Math.log(candidates.length + 2);
  const byZone = Math.log(inZone.size + 2);
  const raw = candidates.map(({ zone, podsOfModel }) =>
    Math.round(
      (podsOfModel.get(model) ?? 0) * byHost +
        (HOST_MAX_SKEW - 1) +
        (inZone.get(zone) ?? 0) * byZone +
        (ZONE_MAX_SKEW - 1),
    ),
  );
  const most = Math.max(...raw);
  const least = Math.min(...raw);
  return raw.map((value) =>
    most === 0 ? MAX_NODE_SCORE : Math.floor((MAX_NODE_SCORE * (most + least - value)) / most),
  );
}

/**
 * What the default plugins of kube-scheduler 1.36 say of each candidate, with their default weights. Left out is what says the same of
 * all of them here: taints, affinity (none is asked for), images (all nodes have them).
 */
export function defaultScores(all: readonly GpuNode[], candidates: readonly GpuNode[], pod: ServingPod): number[] {
  const spread = spreads(all, candidates, pod);
  return candidates.map(
    (node, at) =>
      WEIGHT.leastAllocated * leastAllocated(node, pod) +
      WEIGHT.balancedAllocation * balancedAllocation(node, pod) +
      WEIGHT.podTopologySpread * (spread[at] ?? 0),
  );
}

/** schedule_one.go, numFeasibleNodesToFind. 0 percent: as the scheduler decides itself. */
export function feasibleToFind(allNodes: number, percentage: number): number {
  if (allNodes < 100) return allNodes;
  const percent = percentage > 0 ? percentage : Math.max(5, 50 - Math.floor(allNodes / 125));
  return Math.max(100, Math.floor((allNodes * percent) / 100));
}

/** One of the best, by chance. */
export function oneOfTheBest<T>(items: readonly T[], scores: readonly number[], random: SeededRandom): T | undefined {
  let best = Number.NEGATIVE_INFINITY;
  let alike = 0;
  let chosen: T | undefined;
  for (const [at, item] of items.entries()) {
    const score = scores[at] ?? Number.NEGATIVE_INFINITY;
    if (score < best) continue;
    alike = score > best ? 1 : alike + 1;
    best = score;
    if (random.float() * alike < 1) chosen = item;
  }
  return chosen;
}
