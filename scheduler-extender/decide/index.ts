export { DEFAULT_RULES } from './default-rules.ts';
export type { Explanation, NodeExplanation } from './explanation.ts';
export { type DecisionRules, Extender, type ExtenderOptions, type FilterCounts } from './extender.ts';
