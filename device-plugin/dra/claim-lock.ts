import { createHash } from 'node:crypto';
import { mkdir, realpath } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { NabuError } from '../../common/errors/index.ts';
import { usingPath } from '../../common/fs/index.ts';

/**
 * The claims of a node are one process's: what another has written since this one read it would be given out twice. Held by
 * an abstract Unix socket (unix(7)), which the kernel takes back when the process dies and which is the same in each PID
 * namespace; processes in different network namespaces do not see each other's.
 */
export class ClaimLock {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Throws ALREADY_EXISTS while another process has the claims of this folder, PATH_UNUSABLE. */
  static async take(stateDir: string): Promise<ClaimLock> {
    const folder = await usingPath(stateDir, async () => {
      await mkdir(stateDir, { recursive: true });
      return await realpath(stateDir);
    });
    const name = createHash('sha256').update(folder).digest('hex').slice(0, 40);
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      server.once('error', (err) => reject(refusalOf(err, folder)));
      server.listen(`\0nabu-claims-${name}`, resolve);
    });
    server.unref();
    return new ClaimLock(server);
  }

  async release(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

function refusalOf(err: Error, path: string): Error {
  return Reflect.get(err, 'code') === 'EADDRINUSE'
    ? NabuError.of('ALREADY_EXISTS', {
        kind: 'another device plugin on',
        id: path,
        reason: 'it has the claims of this node',
      })
    : err;
}
