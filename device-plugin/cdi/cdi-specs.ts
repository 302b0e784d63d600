import { mkdir, readdir, stat, unlink } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { KeyedMutex } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { atomicWriteFile, readJsonFile, syncFolder, systemCode, usingPath } from '../../common/fs/index.ts';
import { type Clock, realClock } from '../../common/ports/index.ts';
import { type CdiKind, cdiName, isSpecName, type SpecName } from './name.ts';
import { type CdiContent, type CdiSpec, cdiSpec, cdiSpecSchema } from './spec.ts';

const MODE = 0o644; // no secrets, and some runtimes are not root
const FOLDER_MODE = 0o755;
const MAX_WAITERS = 1024;
const ENDING = '.json';
const UNFINISHED = '.tmp';
/** Writing a file takes milliseconds. Its writer's pid would tell nothing: it may be of another container's namespace. */
const ABANDONED_MS = 5 * 60_000;

export type CdiSpecsOptions = {
  readonly folder: string;
  readonly kind: CdiKind;
  readonly clock?: Clock;
  /** Something keeps every other process from writing this kind: what is unfinished at the start is nobody's. */
  readonly isSoleWriter?: boolean;
};

/**
 * The spec files of one kind in a folder that it shares with other vendors and other kinds: /var/run/cdi, or wherever the
 * runtime looks. File names are those that CDI proposes for specs that come and go, vendor-class_name.json, and nothing
 * else is ever read, listed or removed. One process writes one kind, but for the moments in which one takes over from another.
 *
 * A runtime sees a file as it was or as it is, also after a crash at any point. An unfinished one has a name that runtimes
 * pass over, and is removed by a `start`, for several writers some minutes later. It lies in the same folder because they refresh on the event of its
 * renaming: a file that is moved in from elsewhere makes none that they heed (CDI 1.1, pkg/cdi, watch).
 */
export class CdiSpecs {
  readonly kind: CdiKind;
  readonly folder: string;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #abandonedMs: number;
  /** Changes of one file one after the other, in the order of the calls. */
  readonly #turns = new KeyedMutex<SpecName>({ name: 'CDI spec', maxWaiters: MAX_WAITERS });

  /** Throws INVALID_ARGUMENT when the folder is not an absolute path. */
  constructor(options: CdiSpecsOptions) {
    this.kind = options.kind;
    this.folder = options.folder;
    this.#clock = options.clock ?? realClock;
    this.#abandonedMs = options.isSoleWriter === true ? Number.NEGATIVE_INFINITY : ABANDONED_MS;
    if (!isAbsolute(this.folder)) {
      throw NabuError.of('INVALID_ARGUMENT', { field: 'CDI folder', reason: `${this.folder} is not an absolute path` });
    }
    this.#prefix = `${this.kind.replace('/', '-')}_`;
  }

  /**
   * Makes the folder if there is none, and removes what a crash has left unfinished: for several writers not what is fresh,
   * which may be the file of one that still writes. Once, before anything is written.
   */
  async start(): Promise<void> {
    await this.#usable(async () => {
      await mkdir(this.folder, { recursive: true, mode: FOLDER_MODE });
      for (const file of await this.#files(UNFINISHED)) await this.#removeAbandoned(join(this.folder, file));
    });
  }

  /**
   * Makes or replaces a file; durable when it resolves, and then the runtime knows its devices as soon as it has seen the
   * folder's event. Throws INVALID_ARGUMENT for content that a runtime would refuse, PATH_UNUSABLE.
   */
  async write(name: SpecName, content: CdiContent): Promise<CdiSpec> {
    const spec = cdiSpec(this.kind, content);
    const body = `${JSON.stringify(spec, null, 2)}\n`;
    await this.#turns.run(name, () =>
      this.#usable(async () => {
        await mkdir(this.folder, { recursive: true, mode: FOLDER_MODE }); // someone may have cleared /run
        await atomicWriteFile(this.#pathOf(name), body, MODE);
      }),
    );
    return spec;
  }

  /** As `write`, unless the file is there and says just that. False when it did. */
  async ensure(name: SpecName, content: CdiContent): Promise<boolean> {
    const wanted = JSON.stringify(cdiSpec(this.kind, content));
    const found = await this.read(name).catch((err: unknown) => {
      if (NabuError.is(err, 'FILE_INVALID')) return undefined; // whatever it is, it is replaced
      throw err;
    });
    if (found !== undefined && JSON.stringify(found) === wanted) return false;
    await this.write(name, content);
    return true;
  }

  /** Durable when it resolves; false when there was none. */
  async remove(name: SpecName): Promise<boolean> {
    return await this.#turns.run(name, () =>
      this.#usable(async () => {
        const wasThere = await remove(this.#pathOf(name));
        if (wasThere) await syncFolder(this.folder);
        return wasThere;
      }),
    );
  }

  /** Undefined when there is none. Throws FILE_INVALID for one that is not as we write them. */
  async read(name: SpecName): Promise<CdiSpec | undefined> {
    return await readJsonFile(this.#pathOf(name), cdiSpecSchema);
  }

  /** Sorted. None when there is no folder. */
  async list(): Promise<readonly SpecName[]> {
    const files = await this.#usable(() => this.#files(ENDING));
    return files
      .map((file) => this.#nameIn(file))
      .filter(isSpecName)
      .sort();
  }

  /** Removes all but these: what an earlier process has left of things that are gone. Returns what it removed. */
  async keepOnly(names: Iterable<SpecName>): Promise<readonly SpecName[]> {
    const kept = new Set(names);
    const orphans = (await this.list()).filter((name) => !kept.has(name));
    for (const name of orphans) await this.remove(name);
    return orphans;
  }

  /** 'vendor/class=device'. Throws INVALID_ARGUMENT. */
  nameOf(device: string): string {
    return cdiName(this.kind, device);
  }

  #pathOf(name: SpecName): string {
    return join(this.folder, `${this.#prefix}${name}${ENDING}`);
  }

  async #files(ending: string): Promise<readonly string[]> {
    const all = await readdir(this.folder).catch((err: unknown) => {
      if (systemCode(err) === 'ENOENT') return [];
      throw err;
    });
    return all.filter((file) => file.startsWith(this.#prefix) && file.endsWith(ending));
  }

  async #removeAbandoned(path: string): Promise<void> {
    const changedMs = await changedMsOf(path);
    if (changedMs !== undefined && this.#clock.nowMs() - changedMs >= this.#abandonedMs) await remove(path);
  }

  #nameIn(file: string): string {
    return file.slice(this.#prefix.length, -ENDING.length);
  }

  #usable<T>(work: () => Promise<T>): Promise<T> {
    return usingPath(this.folder, work);
  }
}

/** Undefined when it is gone: its writer has finished. */
async function changedMsOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (err) {
    if (systemCode(err) === 'ENOENT') return undefined;
    throw err;
  }
}

async function remove(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (err) {
    if (systemCode(err) === 'ENOENT') return false;
    throw err;
  }
}
