import { randomUUID } from 'node:crypto';
import { link, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { NabuError } from '../errors/index.ts';
import { identifyProcess, isAlive, type ProcessIdentity } from './process-identity.ts';
import { readJsonFile } from './read-json.ts';

const identitySchema = z.strictObject({ pid: z.int().positive(), startTicks: z.string(), bootId: z.string() });
const ATTEMPTS = 16;

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

  /**
   * Takes the file for `pid` (this process by default). Throws LOCK_HELD while a live process has it. link(2) makes the
   * claim: it appears with its content, and only one of two claimants succeeds.
   */
  static async acquire(path: string, pid = process.pid): Promise<PidFile> {
    const identity = await identifyProcess(pid);
    if (identity === undefined)
      throw NabuError.of('INVALID_ARGUMENT', { field: 'pid', reason: `there is no process ${pid}` });
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const claim = `${path}.${randomUUID()}.tmp`;
    try {
      const file = await open(claim, 'wx', 0o600);
      try {
        await file.writeFile(`${JSON.stringify(identity)}\n`);
      } finally {
        await file.close();
      }
      await PidFile.#claim(path, claim);
    } finally {
      await rm(claim, { force: true });
    }
    return new PidFile(path, identity);
  }

  static async #claim(path: string, claim: string): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      try {
        await link(claim, path);
        return;
      } catch (err) {
        if (Reflect.get(Object(err), 'code') !== 'EEXIST') throw err;
      }
      const holder = await readPidFile(path);
      if (holder !== undefined) throw NabuError.of('LOCK_HELD', { path, pid: holder.pid });
      await removeDead(path);
    }
    throw NabuError.of('ABORTED', {
      operation: `taking ${path}`,
      reason: `others took it ${ATTEMPTS} times meanwhile`,
    });
  }

  /** Removes the file if it is still ours. */
  async release(): Promise<void> {
    const current = await readJsonFile(this.path, identitySchema).catch(() => undefined);
    if (current?.pid === this.identity.pid && current.startTicks === this.identity.startTicks)
      await rm(this.path, { force: true });
  }
}

/**
 * Moves the file of a dead holder aside and looks again: between our look and the move a live process may have taken the
 * name, and then it gets its file back.
 */
async function removeDead(path: string): Promise<void> {
  const aside = `${path}.${randomUUID()}.tmp`;
  try {
    await rename(path, aside);
  } catch (err) {
    if (Reflect.get(Object(err), 'code') === 'ENOENT') return;
    throw err;
  }
  if ((await readPidFile(aside)) !== undefined) await link(aside, path);
  await rm(aside, { force: true });
}
