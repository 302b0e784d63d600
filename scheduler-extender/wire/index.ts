export { type Candidates, candidateName, MAX_CANDIDATES } from './candidates.ts';
export { type ExtenderArgs, parseExtenderArgs } from './extender-args.ts';
export { type FilterAnswer, filterError, filterResult, hostPriorities, REPEATED } from './filter-result.ts';
export { skipSpace, skipValue } from './json-bytes.ts';
export { type NodeVictims, type PreemptionArgs, parsePreemptionArgs, preemptionResult } from './preemption-args.ts';
