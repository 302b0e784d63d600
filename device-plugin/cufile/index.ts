export { type CufileFile, cufileJson } from './cufile-json.ts';
export { CUFILE_KEYS } from './keys.ts';
export type { CufileGpu, CufileHca, CufileInput, CufileMode } from './machine.ts';
export { refuseInvalidPart } from './refusal.ts';
export { type CufileSettings, cufileSettingsSchema } from './settings.ts';
export { mergeTrees, protoPath } from './tree.ts';
export { valueText } from './value.ts';
export { CUFILE_VERSIONS, type CufileVersion, versionsText } from './version.ts';
