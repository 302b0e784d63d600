import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

/** What a process that died gets of its files: nothing. */
export class Died extends Error {}

const CALLS = ['open', 'rename', 'unlink', 'mkdir', 'readdir', 'rm', 'readFile', 'writeFile', 'chmod'] as const;
const HANDLE_CALLS = ['writeFile', 'sync'] as const;

/**
 * Runs work as a process that dies right before its n-th operation on files, counted from 1: that one and all later ones
 * are never done. Resolves with whether it lived. For work that uses node:fs/promises and nothing else, alone in its process.
 */
export async function dyingAt(step: number, work: () => Promise<unknown>): Promise<boolean> {
  const handle = await fs.open('/dev/null');
  const prototype: object = Object.getPrototypeOf(handle);
  await handle.close();
  let done = 0;
  const undo: (() => void)[] = [];
  const count = (owner: object, names: readonly string[]): void => {
    for (const name of names) {
      const original: unknown = Reflect.get(owner, name);
      if (typeof original !== 'function') throw new TypeError(`${name} is no function`);
      Reflect.set(owner, name, function (this: unknown, ...args: unknown[]): unknown {
        if (++done >= step) return Promise.reject(new Died(`at step ${step}`));
        return Reflect.apply(original, this, args);
      });
      undo.push(() => Reflect.set(owner, name, original));
    }
  };
  count(fs, CALLS);
  count(prototype, HANDLE_CALLS);
  syncBuiltinESMExports();
  try {
    await work();
  } catch (err) {
    if (done < step) throw err;
  } finally {
    for (const one of undo) one();
    syncBuiltinESMExports();
  }
  return done < step;
}
