import { createHash } from 'node:crypto';
import { mkdir, realpath, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { basename, dirname } from 'node:path';
import { z } from 'zod';
import { NabuError } from '../errors/index.ts';
import { realClock } from '../ports/index.ts';
import { atomicWriteJson } from './atomic-write.ts';
import { identifyProcess, isAlive, type ProcessIdentity } from './process-identity.ts';
import { readJsonFile } from './read-json.ts';

const identitySchema = z.strictObject({ pid: z.int().positive(), startTicks: z.string(), bootId: z.string() });
/** The guard is held for two small file operations; seconds mean that the disk hangs. */
const GUARD_TIMEOUT_MS = 10_000;
const GUARD_POLL_MS = 2;

/** The live process named in a pid file; undefined when there is no file, or its process is gone or another one by now. */
export async function readPidFile(path: string): Promise<ProcessIdentity | undefined> {
  const identity = await readJsonFile(path, identitySchema).catch((err: unknown) => {
    if (NabuError.is(err, 'FILE_INVALID')) return undefined; // written by nobody of ours: nobody holds it
    throw err;
  });
  return identity !== undefined && (await isAlive(identity)) ? identity : undefined;
}

/** Holds a name on this machine for one process until it is released or the process dies. */
export class PidFile {
  readonly path: string;
  readonly identity: ProcessIdentity;

  private constructor(path: string, identity: ProcessIdentity) {
    this.path = path;
    this.identity = identity;
  }

  /** Takes the file for `pid` (this process by default). Throws LOCK_HELD while a live process has it. */
  static async acquire(path: string, pid = process.pid): Promise<PidFile> {
    const identity = await identifyProcess(pid);
    if (identity === undefined) {
      throw NabuError.of('INVALID_ARGUMENT', { field: 'pid', reason: `there is no process ${pid}` });
    }
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await underGuard(path, async () => {
      const holder = await readPidFile(path);
      if (holder !== undefined) throw NabuError.of('LOCK_HELD', { path, pid: holder.pid });
      await atomicWriteJson(path, identity);
    });
    return new PidFile(path, identity);
  }

  /** Removes the file if it is still ours. */
  async release(): Promise<void> {
    await underGuard(this.path, async () => {
      const current = await readJsonFile(this.path, identitySchema).catch(() => undefined);
      const ours = current?.pid === this.identity.pid && current.startTicks === this.identity.startTicks;
      if (ours) await rm(this.path, { force: true });
    });
  }
}

/**
 * One look-and-take at a time. The guard is an abstract Unix socket (unix(7)): the kernel gives the name to one process
 * and takes it back when that dies, which no file can do, and Node has no flock(2). Its reach is one network namespace.
 */
async function underGuard<T>(path: string, work: () => Promise<T>): Promise<T> {
  const folder = await realpath(dirname(path));
  const name = createHash('sha256')
    .update(`${folder}/${basename(path)}`)
    .digest('hex')
    .slice(0, 40);
  const guard = await takeGuard(`\0nabu-pid-file-${name}`, path);
  try {
    return await work();
  } finally {
    await new Promise<void>((resolve) => guard.close(() => resolve()));
  }
}

async function takeGuard(name: string, path: string): Promise<Server> {
  for (let waitedMs = 0; waitedMs < GUARD_TIMEOUT_MS; waitedMs += GUARD_POLL_MS) {
    const guard = createServer((socket) => socket.destroy());
    const taken = await new Promise<boolean>((resolve, reject) => {
      guard.once('error', (err) => (Reflect.get(err, 'code') === 'EADDRINUSE' ? resolve(false) : reject(err)));
      guard.listen(name, () => resolve(true));
    });
    if (taken) return guard;
    await realClock.sleep(GUARD_POLL_MS);
  }
  throw NabuError.of('TIMEOUT', { operation: `taking ${path}`, timeoutMs: GUARD_TIMEOUT_MS });
}
