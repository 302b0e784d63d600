import { readdir, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';

/** In containerd's code, wherever its own folders are. Another containerd of this machine has its sockets there as well. */
const FOLDER = '/run/containerd/s';

async function isListening(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = createConnection(path);
    const answer = (listens: boolean): void => {
      socket.destroy();
      resolve(listens);
    };
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
  });
}

/** Removes the sockets of shims that have ended: nobody can ever reach anything by them. */
export async function removeDeadShimSockets(): Promise<void> {
  for (const name of await readdir(FOLDER).catch(() => [])) {
    const path = join(FOLDER, name);
    if (!(await isListening(path))) await rm(path, { force: true });
  }
}
