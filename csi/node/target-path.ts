import { lstat, mkdir, open, readdir, realpath, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { NabuError } from '../../common/errors/index.ts';

function codeOf(err: unknown): unknown {
  return Reflect.get(Object(err), 'code');
}

function unusable(path: string, reason: string, cause?: unknown): NabuError {
  return NabuError.of('PATH_UNUSABLE', { path, reason }, { cause });
}

/** The path as mountinfo spells it: folders above may be links, the last part may not. Throws PATH_UNUSABLE. */
export async function canonicalPath(path: string): Promise<string> {
  try {
    return join(await realpath(dirname(path)), basename(path));
  } catch (err) {
    throw unusable(path, 'the folder above it does not exist', err);
  }
}

export type PathKind = 'missing' | 'folder' | 'file' | 'other';

export async function kindOfPath(path: string): Promise<PathKind> {
  try {
    const entry = await lstat(path);
    if (entry.isDirectory()) return 'folder';
    return entry.isFile() ? 'file' : 'other';
  } catch (err) {
    if (codeOf(err) === 'ENOENT' || codeOf(err) === 'ENOTDIR') return 'missing';
    throw unusable(path, 'it cannot be looked at', err);
  }
}

/** The orchestrator makes the staging folder: CSI 1.12 NodeStageVolume. */
export async function requireFolder(path: string): Promise<void> {
  const kind = await kindOfPath(path);
  if (kind === 'missing') throw unusable(path, 'it does not exist');
  if (kind !== 'folder') throw unusable(path, 'it is not a folder');
}

/** The plugin makes the target: an empty folder to mount on, or an empty file to bind a device node to. Idempotent. */
export async function makeTarget(path: string, kind: 'mount' | 'block'): Promise<void> {
  const existing = await kindOfPath(path);
  if (kind === 'mount') {
    if (existing === 'missing') await mkdir(path, { mode: 0o750 });
    else if (existing !== 'folder') throw unusable(path, 'it exists and is not a folder');
    // What is in it would be hidden now, and would keep NodeUnpublishVolume from removing it.
    else if ((await readdir(path)).length > 0) throw unusable(path, 'it is not empty');
  } else if (existing === 'missing') {
    await (await open(path, 'wx', 0o600)).close();
  } else if (existing !== 'file' || (await lstat(path)).size > 0) {
    throw unusable(path, 'it exists and is not an empty file');
  }
}

/** Removes what makeTarget made. Never anything with content: that is not ours. */
export async function removeTarget(path: string): Promise<void> {
  switch (await kindOfPath(path)) {
    case 'missing':
      return;
    case 'folder':
      try {
        await rmdir(path);
      } catch (err) {
        if (codeOf(err) === 'ENOTEMPTY') throw unusable(path, 'it is not empty although nothing is mounted there', err);
        throw err;
      }
      return;
    case 'file':
      if ((await lstat(path)).size > 0) throw unusable(path, 'it is a file with content');
      await rm(path);
      return;
    default:
      throw unusable(path, 'it is neither a folder nor a file');
  }
}
