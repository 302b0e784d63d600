import { join } from 'node:path';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { Unsubscribe } from './device-pool.ts';
import { fileIdentity } from './file-identity.ts';
import { FolderWatch, type WatchFolder } from './folder-watch.ts';
import { WakeUp } from './wake-up.ts';

/** Device plugin API v1beta1, constants.go: KubeletSocket is this file in DevicePluginPath. */
const KUBELET_SOCKET = 'kubelet.sock';

/** What no watch tells, such as a file system mounted over the folder, is found by a poll that is as much slower. */
const WATCHED_POLL_FACTOR = 10;

export type KubeletFolderOptions = {
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often to look where no event tells to; ten times as long while the folder is watched. */
  readonly pollMs: number;
  readonly watch?: WatchFolder;
};

/**
 * The folder that the kubelet and its plugins share, and which kubelet listens in it. Looks when inotify says that
 * something changed there or that the folder itself was taken away, and polls where inotify cannot tell: while there is no
 * folder, or no watch to be had. A kubelet that starts removes every socket in it, then makes its own (Kubernetes,
 * pkg/kubelet/cm/devicemanager, CleanupPluginDirectory), so that a new kubelet is a new file.
 */
export class KubeletFolder {
  readonly path: string;
  readonly kubeletSocket: string;
  readonly #options: KubeletFolderOptions;
  readonly #wake: WakeUp;
  readonly #folder: FolderWatch;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<() => void>();
  #kubelet: string | undefined;
  #looking: Promise<string | undefined> = Promise.resolve(undefined);
  #running: Promise<void> = Promise.resolve();

  constructor(options: KubeletFolderOptions) {
    this.#options = options;
    this.path = options.path;
    this.kubeletSocket = join(options.path, KUBELET_SOCKET);
    this.#wake = new WakeUp(options.clock);
    const { path, pollMs, logger, watch } = options;
    this.#folder = new FolderWatch({
      path,
      watch,
      onEvent: () => this.#wake.call(),
      onRefused: (error) => logger.warn('the kubelet folder cannot be watched: it is polled', { path, pollMs, error }),
    });
  }

  /** Changes with every kubelet that takes the socket; undefined while there is none. */
  get kubelet(): string | undefined {
    return this.#kubelet;
  }

  /** The listener is called after every look, whether it found something new or not. */
  onLook(listener: () => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves after the first look. */
  async start(): Promise<void> {
    await this.look();
    this.#running = this.#lookForEver();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#looking;
    this.#folder.close();
  }

  async #lookForEver(): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      const { pollMs } = this.#options;
      await this.#wake.wait(this.#folder.isWatching ? pollMs * WATCHED_POLL_FACTOR : pollMs, signal);
      if (signal.aborted) return;
      await this.look();
      for (const listener of [...this.#listeners]) listener();
    }
  }

  /** Looks now. Returns what `kubelet` is from here on. One look after the other: an older one never has the last word. */
  look(): Promise<string | undefined> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  async #look(): Promise<string | undefined> {
    await this.#folder.follow();
    // After the watch: what changes from here on is an event.
    this.#kubelet = await fileIdentity(this.kubeletSocket);
    return this.#kubelet;
  }
}
