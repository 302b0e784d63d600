export type { ResourceKind } from './resource-kind.ts';
export { CAUSE_CODES, type Cause, type CauseCode, type Unit, type UnitState } from './unit.ts';
