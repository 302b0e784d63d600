export type { HealthChange } from './health-change.ts';
export { HealthTracker, type HealthTrackerOptions } from './health-tracker.ts';
export { HYSTERESIS, type Hysteresis } from './unit-health.ts';
