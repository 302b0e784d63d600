export { ADMISSION_OPTIONS, runAdmission } from './admission/index.ts';
export { CUFILE_KEYS, CUFILE_VERSIONS, cufileSettingsSchema, valueText, versionsText } from './cufile/index.ts';
export { type GdsReport, inspectGds } from './gds/index.ts';
