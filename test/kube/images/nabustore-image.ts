import { globSync } from 'node:fs';
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { run } from '../host/run.ts';
import { folderImage } from './folder-image.ts';
import { BUSYBOX } from './index.ts';

const ROOT = join(import.meta.dirname, '../../..');
const INSIDE = 'opt/nabustore';
export const NABUSTORE_IMAGE = { repository: 'nabustore.test/nabustore', tag: 'test' };

const SOURCES = ['nabu', 'package.json', 'cli', 'common', 'csi', 'device-plugin', 'engine', 'proto/gen'];
/** What `nabu` itself calls, and what a test looks with. */
const TOOLS = ['sh', 'readlink', 'dirname', 'cat'];
const lockSchema = z.object({ packages: z.record(z.string(), z.object({ dev: z.boolean().default(false) })) });

/** Packages that run, not those that only test or build; nested ones are in the folders of theirs. */
async function packages(): Promise<readonly string[]> {
  const lock = lockSchema.parse(JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8')));
  return Object.entries(lock.packages)
    .filter(([path, { dev }]) => !dev && /^node_modules\/(@[^/]+\/)?[^/]+$/.test(path))
    .map(([path]) => path);
}

/** The shared libraries that programs of ours are linked with, as ldd names them. */
async function libraries(programs: readonly string[]): Promise<readonly string[]> {
  const found = (await run('ldd', programs)).matchAll(/(?:=> )?(\/\S+\.so\S*) \(0x/g);
  return [...new Set([...found].map(([, path = '']) => path))];
}

async function fill(image: string): Promise<void> {
  const add = async (path: string, at: string): Promise<void> => {
    await mkdir(dirname(join(image, at)), { recursive: true });
    await cp(path, join(image, at), { recursive: true });
  };
  const addons = globSync('build/native/*/*.node', { cwd: ROOT });
  for (const path of [...SOURCES, ...addons]) await add(join(ROOT, path), join(INSIDE, path));
  // Some packages of other platforms are in the lock alone.
  for (const path of await packages()) await add(join(ROOT, path), join(INSIDE, path)).catch(ignoreMissing);
  const node = join(ROOT, 'node_modules/node/bin/node');
  for (const path of await libraries([node, ...addons.map((addon) => join(ROOT, addon))])) {
    await mkdir(dirname(join(image, path)), { recursive: true });
    await copyFile(path, join(image, path));
  }
  for (const folder of ['bin', 'proc', 'sys', 'dev', 'tmp', 'etc'])
    await mkdir(join(image, folder), { recursive: true });
  await copyFile(BUSYBOX, join(image, 'bin/busybox'));
  for (const tool of TOOLS) await symlink('busybox', join(image, 'bin', tool));
}

function ignoreMissing(err: unknown): void {
  if (Reflect.get(Object(err), 'code') !== 'ENOENT') throw err;
}

/** Writes the archive of an image with everything that `nabu` runs with, from this repository as it was built. */
export async function writeNabustoreImage(archive: string): Promise<void> {
  const image = await mkdtemp(join(tmpdir(), 'nabu-root-'));
  try {
    await fill(image);
    const name = `${NABUSTORE_IMAGE.repository}:${NABUSTORE_IMAGE.tag}`;
    await folderImage({ name, folder: image, entrypoint: [`/${INSIDE}/nabu`], archive });
  } finally {
    await rm(image, { recursive: true, force: true });
  }
}
