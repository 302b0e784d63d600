import { parsePolicy } from '../../engine/blob/index.ts';
import { DEFAULT_FILTER_RULES } from '../filter/index.ts';
import { DEFAULT_WEIGHTS } from '../score/index.ts';
import type { DecisionRules } from './extender.ts';

/** As shipped: control's own default policy, volumes a quarter full, a gigabyte to what a pod wants to be near. */
export const DEFAULT_RULES: DecisionRules = {
  need: { defaultPolicy: parsePolicy('ec:4+2'), assumedFill: 0.25, nearBytes: 1e9 },
  filter: DEFAULT_FILTER_RULES,
  weights: DEFAULT_WEIGHTS,
};
