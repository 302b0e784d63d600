export { type GdsReport, gdsReport } from './report.ts';
