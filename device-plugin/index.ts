export { ADMISSION_OPTIONS, runAdmission } from './admission/index.ts';
export { allowedText, configNode, parsePluginConfig, type SchemaNode } from './config/index.ts';
export { CUFILE_KEYS, CUFILE_VERSIONS, cufileSettingsSchema, valueText, versionsText } from './cufile/index.ts';
export { type GdsReport, inspectGds } from './gds/index.ts';
export { DevicePluginMetrics } from './metrics/index.ts';
export { DEVICE_PLUGIN_OPTIONS } from './options.ts';
export { DEVICE_PLUGIN_PRIVILEGES } from './privileges.ts';
export { CAUSE_CODES } from './resources/index.ts';
