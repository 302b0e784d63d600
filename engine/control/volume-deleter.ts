import { abortError } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { VolumeId } from '../blob/index.ts';
import type { VolumeReaper } from './volume-reaper.ts';
import type { StoredVolume, VolumeTable } from './volume-table.ts';

const WORKERS = 8;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;

export type VolumeDeleterOptions = {
  readonly table: VolumeTable;
  readonly reaper: VolumeReaper;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The record is gone: its space may be promised again. */
  readonly freed: (volume: StoredVolume) => void;
};

/**
 * The second half of a delete: a volume whose record says `deleting` is freed on its home nodes, then forgotten. Runs in the
 * background, goes on while nodes are away and, because the record says so, after a crash.
 */
export class VolumeDeleter {
  readonly #options: VolumeDeleterOptions;
  readonly #stop = new AbortController();
  /** In order of arrival; a Set because a volume may be announced twice. */
  readonly #queue = new Map<VolumeId, { readonly volume: StoredVolume; readonly retryMs: number }>();
  #running = 0;
  #retrying = 0;
  readonly #active = new Set<Promise<void>>();

  constructor(options: VolumeDeleterOptions) {
    this.#options = options;
  }

  /** Volumes whose space is not yet free. */
  get pending(): number {
    return this.#queue.size + this.#running + this.#retrying;
  }

  start(volume: StoredVolume): void {
    this.#enqueue(volume, FIRST_RETRY_MS);
  }

  /** Ends waiting; what is unfinished is taken up at the next start. */
  async close(): Promise<void> {
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'deleting volumes' }));
    this.#queue.clear();
    await Promise.allSettled(this.#active);
  }

  #enqueue(volume: StoredVolume, retryMs: number): void {
    if (this.#stop.signal.aborted) return;
    this.#queue.set(volume.record.id, { volume, retryMs });
    if (this.#running < WORKERS) this.#work();
  }

  #work(): void {
    const next = this.#queue.entries().next().value;
    if (next === undefined) return;
    const [id, { volume, retryMs }] = next;
    this.#queue.delete(id);
    this.#running++;
    const task = this.#free(volume, retryMs).finally(() => {
      this.#running--;
      this.#active.delete(task);
      this.#work();
    });
    this.#active.add(task);
  }

  async #free(volume: StoredVolume, retryMs: number): Promise<void> {
    const { table, reaper, logger, freed } = this.#options;
    const volumeId = volume.record.id;
    try {
      const silent = await reaper.reap(volume.record, this.#stop.signal);
      if (silent.length === 0) {
        await table.delete(volume);
        freed(volume);
        logger.info('volume deleted', { volumeId, name: volume.record.name });
        return;
      }
      logger.warn('a deleted volume still holds space on nodes that do not answer', { volumeId, nodes: silent });
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      logger.warn('freeing a deleted volume failed, it is tried again', { volumeId, retryMs, error });
    }
    this.#retry(volume, retryMs);
  }

  #retry(volume: StoredVolume, retryMs: number): void {
    this.#retrying++;
    this.#options.clock
      .sleep(retryMs, this.#stop.signal)
      .then(
        () => this.#enqueue(volume, Math.min(LAST_RETRY_MS, retryMs * 2)),
        () => abortError(this.#stop.signal, 'deleting volumes'),
      )
      .finally(() => {
        this.#retrying--;
      });
  }
}
