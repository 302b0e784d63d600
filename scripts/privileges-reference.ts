// Writes docs/reference/device-plugin-privileges.md from device-plugin/privileges.ts. usage: privileges-reference.ts [FILE]
import { writeFileSync } from 'node:fs';
import { privilegesReference } from './reference/privileges.ts';

writeFileSync(process.argv[2] ?? 'docs/reference/device-plugin-privileges.md', privilegesReference());
