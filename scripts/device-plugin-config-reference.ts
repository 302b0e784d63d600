// Writes docs/reference/device-plugin-config.md from the schema in device-plugin/config/. usage: device-plugin-config-reference.ts [FILE]
import { writeFileSync } from 'node:fs';
import { devicePluginConfigReference } from './reference/device-plugin-config.ts';

writeFileSync(process.argv[2] ?? 'docs/reference/device-plugin-config.md', devicePluginConfigReference());
