export { filterNode, freedBy, NO_HOLDS } from './filter-node.ts';
export { DEFAULT_FILTER_RULES, FilterPass, type FilterRules, type Freed } from './filter-pass.ts';
export { PASSED, type Refusal } from './refusals.ts';
export { sizeText } from './size-text.ts';
export type { CapacityHolds } from './zone-checks.ts';
