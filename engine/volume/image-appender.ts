import { Deadline, Semaphore } from '../../common/concurrency/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { logPolicy } from '../blob/index.ts';
import type { BlobStore } from '../client/index.ts';
import type { VolumeSpec } from './home-nodes.ts';
import type { ImagePosition } from './native.ts';
import type { VolumeLog } from './volume-log.ts';
import { allocImage } from './volume-log.ts';

export type ImageAppenderOptions = {
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly spec: VolumeSpec;
  readonly log: VolumeLog;
  /** Images on their way at once, each in a slot of its own. */
  readonly maxInFlight: number;
  readonly stop: AbortSignal;
};

/** Builds an image for the position into the slab; null when there is nothing to build. */
export type BuildImage<T extends { readonly length: number }> = (
  slabOffset: number,
  maxBytes: number,
  position: ImagePosition,
) => T | null;

export type AppendedImage<T> = { readonly built: T; readonly sequence: bigint; readonly durable: Promise<void> };

const ALLOC_ATTEMPT_MS = 60_000;

/**
 * Gives each image its sequence and its slot. Building and appending happen in one turn, so that the order of sequences is the order
 * in which images were built, whoever builds them.
 */
export class ImageAppender {
  readonly #options: ImageAppenderOptions;
  readonly #slots: Semaphore;

  constructor(options: ImageAppenderOptions) {
    this.#options = options;
    this.#slots = new Semaphore({ name: 'log images', permits: options.maxInFlight, maxWaiters: 1024 });
  }

  get free(): number {
    return this.#slots.free;
  }

  /** Waits for a slot. `atMostBytes` bounds the image; the rest of the slot is for parity or copies. */
  async append<T extends { readonly length: number }>(
    atMostBytes: number,
    compaction: boolean,
    build: BuildImage<T>,
  ): Promise<AppendedImage<T> | undefined> {
    const { blobs, log, spec, stop } = this.#options;
    const now = stop.aborted ? undefined : this.#slots.tryAcquire();
    const release = now ?? (await this.#slots.acquire(1, stop));
    let appended = false;
    try {
      const policy = logPolicy(spec.policy, atMostBytes);
      const stripe = blobs.tryAllocStripe(policy, atMostBytes) ?? (await this.#alloc(atMostBytes));
      const sequence = log.writer.nextSequence;
      let built: T | null = null;
      try {
        built = build(stripe.slot.offset, atMostBytes, this.#position(sequence));
      } finally {
        if (built === null) stripe.release();
      }
      if (built === null) return undefined;
      const { durable } = log.writer.append(stripe, built.length, compaction);
      appended = true;
      durable.then(release, release);
      return { built, sequence, durable };
    } finally {
      if (!appended) release();
    }
  }

  #position(sequence: bigint): ImagePosition {
    const { log } = this.#options;
    return {
      generation: log.epoch.generation,
      incarnation: log.epoch.incarnation,
      sequence,
      previousGeneration: log.previousEpoch.generation,
      previousIncarnation: log.previousEpoch.incarnation,
      checkpointSequence: log.checkpoint?.rootSequence ?? 0n,
    };
  }

  /** Waits for room as long as it takes: memory is short while nodes are away, and that is no reason to fail a write. */
  async #alloc(atMostBytes: number): ReturnType<typeof allocImage> {
    const { clock, stop } = this.#options;
    for (;;) {
      using deadline = new Deadline({
        clock,
        operation: 'room for a log image',
        timeoutMs: ALLOC_ATTEMPT_MS,
        parent: stop,
      });
      try {
        return await allocImage(this.#options, atMostBytes, deadline);
      } catch (err) {
        if (stop.aborted || !deadline.expired) throw err;
      }
    }
  }
}
