import { chmod, lstat, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { NabuError } from '../errors/index.ts';

/** sun_path of unix(7) holds 108 bytes with its NUL. */
export const UNIX_PATH_LIMIT_BYTES = 107;

/** Whether somebody accepts connections there. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function refuseTaken(path: string): Promise<void> {
  const existing = await lstat(path).catch(() => undefined);
  if (existing === undefined) return;
  if (!existing.isSocket()) throw NabuError.of('FILE_INVALID', { path, reason: 'it exists and is no socket' });
  if (await isServed(path)) {
    throw NabuError.of('ALREADY_EXISTS', { kind: 'socket', id: path, reason: 'another process answers on it' });
  }
}

/**
 * Lets `bind` listen at a path inside a private folder, then moves the socket to `path` with mode 0600: at no time can
 * another user connect, and what a dead process left is replaced in one step. Throws ALREADY_EXISTS when it is served.
 */
export async function bindUnixSocket(path: string, bind: (temporaryPath: string) => Promise<void>): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await refuseTaken(path);
  const folder = await mkdtemp(`${dirname(path)}/.`); // join() would drop the dot
  try {
    const temporary = join(folder, 's');
    if (Buffer.byteLength(temporary) > UNIX_PATH_LIMIT_BYTES) {
      throw NabuError.of('FILE_INVALID', { path, reason: 'the folder is too deep for a socket: use a shorter one' });
    }
    await bind(temporary);
    await chmod(temporary, 0o600);
    await rename(temporary, path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
