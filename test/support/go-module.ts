import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A module as Go names it; `sum` is its line in a go.sum: the checksum of all its files. */
export type GoModule = { readonly path: string; readonly version: string; readonly sum: string };

/** A test that downloads a module may take this long. */
export const DOWNLOAD_TIMEOUT_MS = 120_000;

/**
 * The folder of a module's sources in Go's own cache, downloaded if they are not there yet; undefined where Go is not
 * installed. Rejects where the module cannot be had, or is not the one whose checksum we know.
 */
export async function goModuleFolder(wanted: GoModule): Promise<string | undefined> {
  const name = `${wanted.path}@${wanted.version}`;
  // Outside of our tree: there is no go.mod that could replace the module.
  const cwd = await mkdtemp(join(tmpdir(), 'nabu-go-module-'));
  try {
    const { stdout } = await run('go', ['mod', 'download', '-json', name], { cwd, timeout: DOWNLOAD_TIMEOUT_MS });
    const { Dir, Sum } = JSON.parse(stdout) as { Dir: string; Sum: string };
    if (Sum !== wanted.sum) throw new Error(`${name} has the checksum ${Sum}, not ${wanted.sum}`);
    return Dir;
  } catch (err) {
    if (Reflect.get(Object(err), 'code') === 'ENOENT') return undefined;
    throw err;
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
}
