export { inspectGds } from './inspect.ts';
export { type GdsReport, gdsReport } from './report.ts';
