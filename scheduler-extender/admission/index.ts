export { GATE } from './marker-patch.ts';
export { SCHEDULER_ADMISSION_CONFIG, type SchedulerAdmissionConfig } from './options.ts';
export { type Admission, PLACEMENT_ANNOTATION, placePod } from './place-pod.ts';
export { DEFAULT_PLACEMENT_RULES, type PlacementRules } from './placement-rules.ts';
