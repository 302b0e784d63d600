import { writeFile } from 'node:fs/promises';
import { output } from './process.ts';
import { Missing } from './provider.ts';
import type { Scope } from './scope.ts';

/** Nothing dirty, nothing cached: what is read next comes from the disk. Needs root. */
export async function dropCaches(scope: Scope): Promise<void> {
  await output(scope, ['sync']);
  await writeFile('/proc/sys/vm/drop_caches', '3').catch((err: unknown) => {
    throw new Missing(`cold caches need the right to write /proc/sys/vm/drop_caches: ${String(err)}`);
  });
}
