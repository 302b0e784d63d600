import type { Offer } from './offers.ts';
import { bestOf, loadSeconds, type Occupancy, type OracleNode } from './oracle.ts';
import type { WorkPod } from './workload.ts';

/** What a pod of ours got, beside the best that it could have got. */
export type Judged = {
  readonly pod: WorkPod;
  readonly node: string;
  readonly seconds: number;
  /** Of the candidates that the scheduler offered. */
  readonly bestOffered: number;
  /** Of all nodes. */
  readonly bestOfAll: number;
  readonly offered: number;
};

export type Verdict = { readonly judged: readonly Judged[]; readonly faults: readonly string[] };

export type JudgeOptions = {
  readonly nodes: ReadonlyMap<string, OracleNode>;
  /** In the order of scheduling. */
  readonly offers: readonly Offer[];
  /** By the name of the pod. */
  readonly placed: ReadonlyMap<string, string>;
  readonly pods: readonly WorkPod[];
  readonly occupancy: Occupancy;
};

/**
 * Places the pods again one after another, in the order in which the scheduler did, and looks at each node that it could have taken.
 * Strangers, about whom nobody was asked, come first: where they went takes room, whenever that was.
 */
export function judge({ nodes, offers, placed, pods, occupancy }: JudgeOptions): Verdict {
  const judged: Judged[] = [];
  const faults: string[] = [];
  const place = (pod: WorkPod): OracleNode | undefined => {
    const node = nodes.get(placed.get(pod.name) ?? '');
    if (node === undefined) {
      faults.push(`${pod.name} has no node`);
      return undefined;
    }
    const refusal = occupancy.refuses(pod.oracle, node);
    if (refusal !== undefined) faults.push(`${pod.name} is on ${node.name}, and ${refusal}`);
    return node;
  };
  for (const stranger of pods.filter(({ isOurs }) => !isOurs)) {
    const node = place(stranger);
    if (node !== undefined) occupancy.place(stranger.oracle, node);
  }
  // A pod that is tried again is asked about again: what counts is the last time.
  const last = new Map(offers.map((offer) => [offer.podName, offer]));
  const order = new Map([...offers.entries()].map(([at, { podName }]) => [podName, at]));
  const ours = pods.filter(({ isOurs }) => isOurs).sort((a, b) => (order.get(a.name) ?? 0) - (order.get(b.name) ?? 0));
  for (const pod of ours) {
    const node = place(pod);
    const offer = last.get(pod.name);
    if (offer === undefined) faults.push(`nobody was asked about ${pod.name}`);
    if (node === undefined || offer === undefined) continue;
    const { candidates } = offer;
    if (!candidates.includes(node.name)) faults.push(`${pod.name} is on ${node.name}, which was not offered`);
    const known = candidates.flatMap((name) => nodes.get(name) ?? []);
    const offered = bestOf(pod.oracle, known, occupancy);
    const ofAll = bestOf(pod.oracle, nodes.values(), occupancy);
    if (offered === undefined || ofAll === undefined) faults.push(`${pod.name} could not go anywhere`);
    else {
      judged.push({
        pod,
        node: node.name,
        seconds: loadSeconds(node, pod.oracle.readings),
        bestOffered: offered.seconds,
        bestOfAll: ofAll.seconds,
        offered: candidates.length,
      });
    }
    occupancy.place(pod.oracle, node);
  }
  return { judged, faults };
}

export type Regret = {
  /** Seconds too many, as a part of the seconds of the best. */
  readonly ofSeconds: number;
  /** The mean over the pods of each one's own part. */
  readonly ofPods: number;
};

export function regret(judged: readonly Judged[], best: (judged: Judged) => number): Regret {
  let seconds = 0;
  let bestSeconds = 0;
  let parts = 0;
  for (const one of judged) {
    seconds += one.seconds;
    bestSeconds += best(one);
    parts += one.seconds / best(one) - 1;
  }
  return { ofSeconds: seconds / bestSeconds - 1, ofPods: parts / judged.length };
}
