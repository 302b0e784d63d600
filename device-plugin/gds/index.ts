export { inspectGds } from './inspect.ts';
export { type DirectPaths, directPaths, modeOf as gdsModeOf } from './machine-requirements.ts';
export { type GdsReport, gdsReport } from './report.ts';
export type { GdsMode } from './requirement.ts';
