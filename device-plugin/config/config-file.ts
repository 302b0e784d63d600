import { dirname } from 'node:path';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { FolderWatch, type Unsubscribe, WakeUp, type WatchFolder } from '../kubelet/index.ts';
import { parsePluginConfig } from './parse.ts';
import type { PluginConfig } from './plugin-config.ts';
import { readConfigText } from './read.ts';

export type ConfigFileOptions = {
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Told of every text that was read and was not the one before, at the start too. */
  readonly onRead?: (outcome: 'ok' | 'refused') => void;
  /** How often to look where no event tells to. */
  readonly pollMs?: number;
  readonly watch?: WatchFolder;
};

const POLL_MS = 10_000;
/** Somebody who saves a file empties it first: what is read a moment later is whole. */
const SETTLE_MS = 50;

/**
 * The configuration file while the plugin runs. Its folder is watched, not the file: editors put a new file in its place,
 * and a ConfigMap turns a link beside it (`..data`). A file that is wrong or away changes nothing but what `problem` says.
 */
export class ConfigFile {
  readonly #options: ConfigFileOptions;
  readonly #wake: WakeUp;
  readonly #folder: FolderWatch;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<(config: PluginConfig) => void>();
  #config: PluginConfig | undefined;
  /** Of what is in force. */
  #text: string | undefined;
  #problem: string | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: ConfigFileOptions) {
    this.#options = options;
    this.#wake = new WakeUp(options.clock);
    const { path, pollMs = POLL_MS, logger, watch } = options;
    this.#folder = new FolderWatch({
      path: dirname(path),
      watch,
      onEvent: () => this.#wake.call(),
      onRefused: (error) =>
        logger.warn('the folder of the configuration cannot be watched: it is polled', {
          path,
          pollMs,
          error,
        }),
    });
  }

  /** What is in force. Throws RangeError before `start` has resolved. */
  get config(): PluginConfig {
    if (this.#config === undefined) throw new RangeError('the configuration has not been read');
    return this.#config;
  }

  /** Why the file as it lies there is not in force; undefined when it is. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Reads the file and follows it from then on. Throws CONFIG_INVALID: there is no older one to go on with. */
  async start(): Promise<PluginConfig> {
    await this.#folder.follow();
    const { path, onRead } = this.#options;
    try {
      this.#text = await readConfigText(path);
      this.#config = parsePluginConfig(this.#text, path);
    } catch (err) {
      this.#folder.close();
      onRead?.('refused');
      throw err;
    }
    onRead?.('ok');
    this.#running = this.#lookForEver();
    return this.#config;
  }

  /** The listener gets each configuration that comes into force after `start`. */
  watch(listener: (config: PluginConfig) => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.#folder.close();
  }

  async #lookForEver(): Promise<void> {
    const { clock, pollMs = POLL_MS } = this.#options;
    const { signal } = this.#stop;
    for (;;) {
      await this.#wake.wait(pollMs, signal);
      await clock.sleep(SETTLE_MS, signal).catch(() => undefined); // the signal is looked at next
      if (signal.aborted) return;
      await this.#folder.follow();
      await this.#look();
    }
  }

  async #look(): Promise<void> {
    const { path, logger, onRead } = this.#options;
    try {
      const text = await readConfigText(path);
      if (text === this.#text && this.#problem === undefined) return;
      const config = parsePluginConfig(text, path);
      this.#problem = undefined;
      const isBack = text === this.#text; // as it was before it was wrong or away
      this.#text = text;
      this.#config = config;
      if (isBack) {
        onRead?.('ok');
        logger.info('the configuration is as it was again', { path });
        return;
      }
      logger.info('the configuration has changed', { path });
      onRead?.('ok');
      for (const listener of [...this.#listeners]) listener(config);
    } catch (err) {
      this.#refuse(err);
    }
  }

  #refuse(err: unknown): void {
    if (!NabuError.is(err)) throw err;
    if (this.#problem === err.message) return;
    this.#problem = err.message;
    const { path, logger, onRead } = this.#options;
    logger.error('the configuration is refused: the one before stays in force', { path, error: err });
    onRead?.('refused');
  }
}
