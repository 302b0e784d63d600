import { type ClusterIndex, NO_SLOT, type Slot } from '../cluster/index.ts';
import type { Need } from '../need/index.ts';
import { LoadTimes } from './load-times.ts';
import { MAX_SCORE, type ScoreWeights } from './weights.ts';

/**
 * 0 to 10 from the expected seconds and those of the best candidate. By ratios, not differences: twice as long is as bad for a small
 * load as for a large one, and one hopeless node does not make the others look alike. Pure; never rises with `seconds`.
 */
export function scoreOf(seconds: number, bestSeconds: number, weights: ScoreWeights): number {
  const { insignificantS, worstRatio } = weights;
  const ratio = (seconds + insignificantS) / (bestSeconds + insignificantS);
  if (!(ratio > 1)) return MAX_SCORE;
  const score = Math.round(MAX_SCORE * (1 - Math.log(ratio) / Math.log(worstRatio)));
  return Math.max(score, 0);
}

export type ScoredNode = { readonly score: number; readonly seconds: number };

/** One node beside the best of some. Pure. */
export function scoreNode(
  need: Need,
  node: Slot,
  index: ClusterIndex,
  weights: ScoreWeights,
  bestSeconds: number,
): ScoredNode {
  const seconds = new LoadTimes(need, index, weights).secondsAt(node);
  return { score: scoreOf(seconds, bestSeconds, weights), seconds };
}

/**
 * Scores of many nodes beside each other, into `scores`: NO_SLOT scores 0, and what else is below 0 stays what it is. `slots` and `scores` may be longer than `count`.
 */
export function scoreNodes(
  times: LoadTimes,
  slots: Int32Array,
  count: number,
  weights: ScoreWeights,
  scores: Int32Array,
): void {
  const seconds = secondsScratch(count);
  let best = Number.POSITIVE_INFINITY;
  for (let at = 0; at < count; at++) {
    const slot = slots[at] ?? NO_SLOT;
    if (slot < 0) continue;
    const time = times.secondsAt(slot);
    seconds[at] = time;
    if (time < best) best = time;
  }
  let last = best;
  let lastScore = MAX_SCORE;
  for (let at = 0; at < count; at++) {
    const slot = slots[at] ?? NO_SLOT;
    if (slot < 0) {
      scores[at] = slot === NO_SLOT ? 0 : slot;
      continue;
    }
    const time = seconds[at] ?? 0;
    if (time !== last) {
      last = time;
      lastScore = scoreOf(time, best, weights);
    }
    scores[at] = lastScore;
  }
}

let scratch = new Float64Array(1024);

function secondsScratch(count: number): Float64Array {
  if (scratch.length < count) scratch = new Float64Array(count * 2);
  return scratch;
}
