// Writes docs/reference/errors.md from common/errors/registry.ts. usage: error-reference.ts [FILE]
import { writeFileSync } from 'node:fs';
import { errorReference } from './reference/errors.ts';

writeFileSync(process.argv[2] ?? 'docs/reference/errors.md', errorReference());
