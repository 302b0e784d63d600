export { ADMISSION_OPTIONS, type AdmissionOptions } from './options.ts';
export { runAdmission } from './run-admission.ts';
