import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A file whose reads hang in the kernel, as one of sysfs does whose firmware does not answer: a FUSE file system of that one
 * file is mounted over it, and nobody serves it. What is beneath is there again when it ends; reads that hang then fail.
 */
export class HangingFile implements Disposable {
  readonly #path: string;
  readonly #connection: number;
  #isMounted = true;

  constructor(path: string) {
    this.#path = realpathSync(path); // whatever becomes of the links that lead there
    this.#connection = openSync('/dev/fuse', 'r+');
    try {
      const options = 'fd=3,rootmode=100644,user_id=0,group_id=0';
      execFileSync('mount', ['-i', '-t', 'fuse', 'nabu-hanging', path, '-o', options], {
        stdio: ['ignore', 'ignore', 'ignore', this.#connection],
      });
    } catch (err) {
      closeSync(this.#connection);
      throw err;
    }
  }

  [Symbol.dispose](): void {
    if (!this.#isMounted) return;
    this.#isMounted = false;
    closeSync(this.#connection);
    execFileSync('umount', ['-l', this.#path]);
  }
}

/** Whether this user may make one. */
export function canHang(): boolean {
  if (!existsSync('/dev/fuse')) return false;
  const folder = mkdtempSync(join(tmpdir(), 'nabu-hang-'));
  try {
    writeFileSync(join(folder, 'file'), '');
    new HangingFile(join(folder, 'file'))[Symbol.dispose]();
    return true;
  } catch {
    return false;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
