import type { Clock, Timer } from '../../common/ports/index.ts';
import { SMALL_LOG_BYTES } from '../blob/index.ts';
import type { ImageAppender } from './image-appender.ts';
import { MAX_IMAGE_BYTES, type NativeVolume, VOLUME_BLOCK, type VolumeEvent } from './native.ts';

export type SealerOptions = {
  readonly native: Pick<NativeVolume, 'seal' | 'commit' | 'unsealedBytes' | 'watchWrites'>;
  readonly appender: Pick<ImageAppender, 'append'>;
  readonly clock: Clock;
  /** How long unsealed data waits for company when nobody waits for it; twice that when others are sealed meanwhile. */
  readonly sealDelayMs: number;
  readonly onFailure: (err: unknown) => void;
};

/** Below this an image with its header surely fits the small form. */
const SMALL_PENDING_BYTES = SMALL_LOG_BYTES - 16 * VOLUME_BLOCK;

/** Turns unsealed writes into log blobs: at once for a flush, a full image or a full ring, else after a short while. */
export class Sealer {
  readonly #options: SealerOptions;
  /** Runs while there are writes: one event for each of them would cost more than they do. */
  #timer: Timer | undefined;
  /** Since the timer last ran: then what is unsealed now is younger than the delay. */
  #sealedForOthers = false;
  #wanted = false;
  #running: Promise<void> | undefined;
  #sealedBytes = 0;
  #sealedImages = 0;
  #closed = false;

  constructor(options: SealerOptions) {
    this.#options = options;
  }

  /** Bytes of log images since the start. */
  get sealedBytes(): number {
    return this.#sealedBytes;
  }

  /** Log images since the start. */
  get sealedImages(): number {
    return this.#sealedImages;
  }

  onSealWanted(event: Extract<VolumeEvent, { type: 'seal-wanted' }>): void {
    if (event.reason === 'first') {
      this.#arm();
      return;
    }
    this.#sealedForOthers = true;
    this.#now();
  }

  /** Seals all there is; resolves when it is on its way, in order. */
  async drain(): Promise<void> {
    this.#now();
    while (this.#running !== undefined) await this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#running;
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = this.#options.clock.setTimer(() => this.#tick(), this.#options.sealDelayMs, { background: true });
  }

  /** Seals what has waited for one delay, at most two. Ends when nothing was written: the next write says so. */
  #tick(): void {
    const { native } = this.#options;
    this.#timer = undefined;
    const young = this.#sealedForOthers;
    this.#sealedForOthers = false;
    if (!young && native.unsealedBytes() === 0 && native.watchWrites() === 0) return;
    this.#arm();
    if (!young) this.#now();
  }

  #now(): void {
    this.#wanted = true;
    if (this.#running !== undefined || this.#closed) return;
    this.#running = this.#sealAll()
      .catch(this.#options.onFailure)
      .finally(() => {
        this.#running = undefined;
        if (this.#wanted) this.#now();
      });
  }

  async #sealAll(): Promise<void> {
    while (this.#wanted && !this.#closed) {
      this.#wanted = false;
      if (await this.#sealOne()) this.#wanted = true;
    }
  }

  /** True when there is more. */
  async #sealOne(): Promise<boolean> {
    const { native, appender, onFailure } = this.#options;
    const small = native.unsealedBytes() <= SMALL_PENDING_BYTES;
    const maxBytes = small ? SMALL_LOG_BYTES - VOLUME_BLOCK : MAX_IMAGE_BYTES;
    const image = await appender.append(maxBytes, false, (offset, most, position) =>
      native.seal(offset, most, position),
    );
    if (image === undefined) return false;
    this.#sealedBytes += image.built.length;
    this.#sealedImages++;
    image.durable.then(() => native.commit(image.sequence)).catch(onFailure);
    return image.built.more;
  }
}
