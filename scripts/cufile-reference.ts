// Writes docs/reference/cufile.md from the keys in device-plugin/cufile/. usage: cufile-reference.ts [FILE]
import { writeFileSync } from 'node:fs';
import { cufileReference } from './reference/cufile.ts';

writeFileSync(process.argv[2] ?? 'docs/reference/cufile.md', cufileReference());
