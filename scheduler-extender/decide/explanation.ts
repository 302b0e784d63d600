import type { ClusterIndex, Slot } from '../cluster/index.ts';
import type { Refusal } from '../filter/index.ts';
import type { Breakdown, LoadTimes } from '../score/index.ts';
import { type Candidates, candidateName } from '../wire/index.ts';

export type NodeExplanation = {
  readonly node: string;
  /** 'zone/rack', '' for a node that is not known. */
  readonly place: string;
  readonly score: number;
  /** Why it was refused, and whether preemption could help; undefined: it was not. */
  readonly refused: Refusal | undefined;
  /** Undefined for a node that is not known. */
  readonly time: Breakdown | undefined;
};

/** What `?explain` answers: the best first, then those that were refused. */
export type Explanation = {
  readonly pod: { readonly uid: string; readonly namespace: string; readonly name: string };
  readonly locality: string;
  readonly reads: readonly { readonly what: string; readonly bytes: number }[];
  readonly newVolumes: readonly {
    readonly claim: string;
    readonly class: string;
    readonly policy: string;
    readonly sizeBytes: number;
  }[];
  /** '' while all that is known is fresh. */
  readonly stale: string;
  readonly nodes: readonly NodeExplanation[];
};

export function explainNode(given: {
  readonly candidates: Candidates;
  readonly at: number;
  readonly slot: Slot;
  readonly refusal: Refusal | undefined;
  readonly score: number;
  readonly times: LoadTimes;
  readonly index: ClusterIndex;
}): NodeExplanation {
  const { candidates, at, slot, refusal, score, times, index } = given;
  const isKnown = slot >= 0 && index.nodes.present[slot] === 1;
  const { places } = index.nodes;
  return {
    node: candidateName(candidates, at),
    place: isKnown ? places.rackPath(places.at(index.nodes.place[slot] ?? 0).rack) : '',
    score,
    refused: refusal,
    time: isKnown ? times.explain(slot) : undefined,
  };
}
