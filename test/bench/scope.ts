import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';

type CleanUp = { readonly what: string; readonly undo: () => Promise<unknown> | unknown };

const TMPFS_MAGIC = 0x01021994;

/** Undoes what a benchmark made, the last thing first, each even when another fails. */
export class Scope {
  readonly #cleanUps: CleanUp[] = [];
  #closing: Promise<string[]> | undefined;

  /** `what` names the thing in the complaint when `undo` fails. */
  defer(what: string, undo: () => Promise<unknown> | unknown): void {
    this.#cleanUps.push({ what, undo });
    // Work that was interrupted may still be making things: they go as soon as they are there.
    this.#closing = this.#closing?.then(async (failures) => [...failures, ...(await this.#undoAll())]);
  }

  /** A folder on a disk (not in memory) that goes away with the scope. NABU_BENCH_DIR says below which folder. */
  async folder(): Promise<string> {
    const parent = process.env.NABU_BENCH_DIR ?? '/var/tmp';
    if ((await statfs(parent)).type === TMPFS_MAGIC) {
      throw new Error(`${parent} is memory, not a disk: name a folder on a disk in NABU_BENCH_DIR`);
    }
    const path = await mkdtemp(join(parent, 'nabu-bench-'));
    this.defer(path, () => rm(path, { recursive: true, force: true, maxRetries: 5 }));
    return path;
  }

  /** Returns what could not be undone, in words. Idempotent. */
  close(): Promise<string[]> {
    this.#closing ??= this.#undoAll();
    return this.#closing;
  }

  async #undoAll(): Promise<string[]> {
    const failures: string[] = [];
    for (let next = this.#cleanUps.pop(); next !== undefined; next = this.#cleanUps.pop()) {
      try {
        await next.undo();
      } catch (err) {
        failures.push(`${next.what}: ${String(err)}`);
      }
    }
    return failures;
  }
}
