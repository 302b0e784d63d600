import { Deadline, Semaphore } from '../../common/concurrency/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { isLoss, type LogReader } from './log-reader.ts';
import { type FetchStatus, type NativeVolume, VOLUME_BLOCK, type VolumeEvent } from './native.ts';

export type FetcherOptions = {
  readonly native: NativeVolume;
  readonly reader: LogReader;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly maxInFlight: number;
  readonly stop: AbortSignal;
};

type Fetch = Extract<VolumeEvent, { type: 'fetch' }>;
const PREFETCH_MS = 5000;
const MAX_QUEUED = 65_536;

/** Gets what the native core misses. A reader waits as long as it takes; only proven loss is an error to him. */
export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #permits: Semaphore;
  #lost = 0;

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#permits = new Semaphore({ name: 'log fetches', permits: options.maxInFlight, maxWaiters: MAX_QUEUED });
  }

  /** Fetches answered with an error because the data is gone. */
  get lost(): number {
    return this.#lost;
  }

  onFetch(fetch: Fetch): void {
    this.#permits
      .run(() => this.#answer(fetch), { signal: this.#options.stop })
      .catch((err: unknown) => {
        if (!this.#options.stop.aborted) this.#options.logger.error('a fetch was not answered', { fetch, err });
      });
  }

  async #answer(fetch: Fetch): Promise<void> {
    const { native, reader, stop } = this.#options;
    const [offset, length] = [fetch.block * VOLUME_BLOCK, fetch.count * VOLUME_BLOCK];
    try {
      const got = fetch.prefetch
        ? await this.#prefetch(fetch, offset, length)
        : await reader.readRange(fetch.sequence, offset, length, stop);
      try {
        native.fetched(fetch.id, got.slot.offset + got.offset, 'ok');
      } finally {
        got.slot.release();
      }
    } catch (err) {
      if (!stop.aborted) native.fetched(fetch.id, 0, this.#failure(fetch, err));
    }
  }

  async #prefetch(fetch: Fetch, offset: number, length: number): ReturnType<LogReader['readRange']> {
    using deadline = new Deadline({
      clock: this.#options.clock,
      operation: 'read-ahead',
      timeoutMs: PREFETCH_MS,
      parent: this.#options.stop,
    });
    return await this.#options.reader.readRange(fetch.sequence, offset, length, deadline.signal);
  }

  #failure(fetch: Fetch, err: unknown): FetchStatus {
    if (!isLoss(err)) {
      if (!fetch.prefetch)
        this.#options.logger.warn('a fetch failed and is asked for again', { sequence: fetch.sequence, err });
      return 'retry';
    }
    this.#lost++;
    this.#options.logger.error('data of the volume is lost', {
      sequence: fetch.sequence,
      block: fetch.block,
      count: fetch.count,
      err,
    });
    return 'lost';
  }
}
