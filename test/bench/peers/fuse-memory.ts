import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Child, nativeProgram } from '../process.ts';
import type { Bench } from '../provider.ts';

/** As many as a volume server has. */
const THREADS = 2;

/**
 * A block device by the same FUSE and loop path over plain memory: what the path alone allows. `hop`: reads of 4 KiB also
 * cross a loopback connection to another bare process. Returns the loop device.
 */
export async function fuseMemory(bench: Bench, sizeBytes: number, hop: boolean): Promise<string> {
  const folder = join(await bench.scope.folder(), 'mount');
  await mkdir(folder);
  const command = [nativeProgram('volume/fuse-memory'), folder, String(sizeBytes), String(THREADS)] as const;
  if (!hop) return await (await Child.start(bench.scope, [...command])).line();
  const server = await Child.start(bench.scope, [nativeProgram('bench/bench_fan_out'), 'serve', '4096', '1']);
  return await (await Child.start(bench.scope, [...command, await server.line()])).line();
}
