export { type Breakdown, LoadTimes } from './load-times.ts';
export { type ScoredNode, scoreNode, scoreNodes, scoreOf } from './score.ts';
export { DEFAULT_WEIGHTS, MAX_SCORE, type ScoreWeights } from './weights.ts';
