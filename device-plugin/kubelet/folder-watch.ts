import { type FSWatcher, watch } from 'node:fs';
import { folderIdentity } from './file-identity.ts';

/** Begins to watch a folder; throws, or emits an error, where that is not to be had. */
export type WatchFolder = (path: string, onEvent: () => void) => FSWatcher;

export type FolderWatchOptions = {
  readonly path: string;
  readonly watch?: WatchFolder | undefined;
  readonly onEvent: () => void;
  /** Told once, until a watch is to be had again: the user's inotify instances are used up, for example. */
  readonly onRefused: (err: unknown) => void;
};

const inotify: WatchFolder = (path, onEvent) => watch(path, { persistent: false }, onEvent);

/** The inotify watch of a folder that may go, come back, or become another one under the same path. */
export class FolderWatch {
  readonly #options: FolderWatchOptions;
  #watcher: { readonly folder: string; readonly watcher: FSWatcher } | undefined;
  #isRefused = false;

  constructor(options: FolderWatchOptions) {
    this.#options = options;
  }

  /** Whether events tell of changes. */
  get isWatching(): boolean {
    return this.#watcher !== undefined;
  }

  /** Watches the folder that is there now, if it is another one than before. */
  async follow(): Promise<void> {
    const { path, watch = inotify, onEvent } = this.#options;
    const folder = await folderIdentity(path);
    if (folder === this.#watcher?.folder) return;
    this.close();
    if (folder === undefined) return;
    try {
      const watcher = watch(path, onEvent);
      watcher.on('error', (err) => this.#refused(err));
      this.#watcher = { folder, watcher };
      this.#isRefused = false;
    } catch (err) {
      this.#refused(err);
    }
  }

  close(): void {
    this.#watcher?.watcher.close();
    this.#watcher = undefined;
  }

  #refused(err: unknown): void {
    this.close();
    if (this.#isRefused) return;
    this.#isRefused = true;
    this.#options.onRefused(err);
  }
}
