import type { Dirent } from 'node:fs';
import { chmod, mkdir, opendir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KeyedMutex } from '../../common/concurrency/index.ts';
import { atomicWriteFile, usingPath } from '../../common/fs/index.ts';
import type { CufileMode } from '../cufile/index.ts';
import type { DeviceId } from '../kubelet/index.ts';
import { CUFILE_MODES } from './cufile-mode.ts';
import type { HostPaths } from './host-paths.ts';

export const CUFILE_NAME = 'cufile.json';
/** Beside it: for whom the file was made, and what it was not made from. */
export const NOTES_NAME = 'NOTES';

/** Whoever the container runs as reads them. */
const FOLDER_MODE = 0o755;
const FILE_MODE = 0o644;
const MODE_SUFFIX = '.mode';
/** Waiting for one folder: PreStartContainer is repeated only after the kubelet has given the one before up. */
const WAITER_LIMIT = 16;

/** A pod may be admitted and its container not yet be shown; an init container never is. Nothing younger is removed. */
const SWEEP_AGE_MS = 24 * 3_600_000;
const SWEEP_LOOK_LIMIT = 4096;
const SWEEP_REMOVE_LIMIT = 256;

/**
 * The folders of one resource that containers see, one for each unit: `<state>/cufile/<resource>/<id>/`, and beside each the
 * mode for which its container was given device files, as `<id>.mode`.
 */
export class CufileFolders {
  readonly #here: string;
  readonly #inHost: string;
  readonly #locks = new KeyedMutex<DeviceId>({ name: 'cuFile folder', maxWaiters: WAITER_LIMIT });
  /** What this process has seen to. */
  readonly #granted = new Map<DeviceId, CufileMode>();

  /** `shortName`: what follows the slash in the name of the resource. */
  constructor({ stateDir, stateDirInHost }: Pick<HostPaths, 'stateDir' | 'stateDirInHost'>, shortName: string) {
    this.#here = join(stateDir, 'cufile', shortName);
    this.#inHost = join(stateDirInHost, 'cufile', shortName);
  }

  /** As a mount names it. */
  pathInHost(id: DeviceId): string {
    return join(this.#inHost, id);
  }

  /**
   * The folder is there, and it is written down in which mode its container gets its device files. Throws PATH_UNUSABLE, as
   * `write` does.
   */
  async grant(id: DeviceId, mode: CufileMode): Promise<void> {
    if (this.#granted.get(id) === mode) return;
    await this.#change(id, async () => {
      await this.#make(id);
      await writeFile(this.#modePath(id), mode);
    });
    this.#granted.set(id, mode);
  }

  /** Undefined where it was never granted, or that was lost with the node's power. */
  async grantedMode(id: DeviceId): Promise<CufileMode | undefined> {
    const known = this.#granted.get(id);
    if (known !== undefined) return known;
    const text = await readFile(this.#modePath(id), 'utf8').catch(() => '');
    return CUFILE_MODES.find((mode) => mode === text);
  }

  /** Both files, each in one step, cufile.json last. What is there already is left as it is. */
  async write(id: DeviceId, cufile: string, notes: string): Promise<void> {
    await this.#change(id, async () => {
      await this.#make(id);
      await this.#removeStrangers(id);
      await this.#put(id, NOTES_NAME, notes);
      await this.#put(id, CUFILE_NAME, cufile);
    });
  }

  /**
   * Removes what was made for units that nobody holds any more. Bounded: it looks at 4,096 entries, removes 256 of them at
   * most, and none that was written to within a day.
   */
  async sweep(isHeld: (id: string) => boolean, nowMs: number): Promise<readonly string[]> {
    const removed: string[] = [];
    let looked = 0;
    for await (const entry of await opendir(this.#here)) {
      if (++looked > SWEEP_LOOK_LIMIT || removed.length >= SWEEP_REMOVE_LIMIT) break;
      const id = entry.name.endsWith(MODE_SUFFIX) ? entry.name.slice(0, -MODE_SUFFIX.length) : entry.name;
      if (isHeld(id) || !(await this.#isOld(entry, nowMs))) continue;
      this.#granted.delete(id as DeviceId);
      await rm(join(this.#here, entry.name), { recursive: true, force: true });
      removed.push(entry.name);
    }
    return removed;
  }

  #change(id: DeviceId, work: () => Promise<void>): Promise<void> {
    return this.#locks.run(id, () => usingPath(join(this.#here, id), work));
  }

  async #isOld(entry: Dirent, nowMs: number): Promise<boolean> {
    const found = await stat(join(this.#here, entry.name)).catch(() => undefined);
    return found !== undefined && nowMs - found.mtimeMs > SWEEP_AGE_MS;
  }

  async #make(id: DeviceId): Promise<void> {
    const path = join(this.#here, id);
    await mkdir(path, { recursive: true });
    await chmod(path, FOLDER_MODE); // whatever the umask
  }

  /** What a process that was killed while it wrote has left. */
  async #removeStrangers(id: DeviceId): Promise<void> {
    const names = await readdir(join(this.#here, id));
    for (const name of names) {
      if (name !== CUFILE_NAME && name !== NOTES_NAME) {
        await rm(join(this.#here, id, name), { recursive: true, force: true });
      }
    }
  }

  async #put(id: DeviceId, name: string, text: string): Promise<void> {
    const path = join(this.#here, id, name);
    if ((await readFile(path, 'utf8').catch(() => undefined)) === text) return;
    await atomicWriteFile(path, text, FILE_MODE);
    await chmod(path, FILE_MODE);
  }

  #modePath(id: DeviceId): string {
    return join(this.#here, id + MODE_SUFFIX);
  }
}
