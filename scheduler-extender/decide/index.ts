export type { Explanation, NodeExplanation } from './explanation.ts';
export { type DecisionRules, Extender, type ExtenderOptions, type FilterCounts } from './extender.ts';
