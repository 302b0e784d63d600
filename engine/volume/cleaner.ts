import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { SMALL_LOG_BYTES } from '../blob/index.ts';
import type { ImageAppender } from './image-appender.ts';
import { MAX_IMAGE_BYTES, type NativeVolume, type Victim, VOLUME_BLOCK } from './native.ts';
import type { VolumeLog } from './volume-log.ts';

/**
 * When the log is worth cleaning. Above `amplification` times the live blocks plus `slackBlocks`, blobs up to `utilisation` full are
 * rewritten until it is below; small blobs (stored as copies) are gathered into stripes whenever they fill half an image.
 */
export type CleaningPolicy = {
  readonly amplification: number;
  readonly slackBlocks: number;
  readonly utilisation: number;
};

export const DEFAULT_CLEANING: CleaningPolicy = { amplification: 1.4, slackBlocks: 16_384, utilisation: 0.85 };

const VICTIMS_PER_ROUND = 16;
const SMALL_BLOCKS = SMALL_LOG_BYTES / VOLUME_BLOCK - 1;
/** Gathering less than this would make another small blob, to be gathered again. */
const WORTHWHILE_BLOCKS = MAX_IMAGE_BYTES / VOLUME_BLOCK / 2;
const READ_MS = 60_000;

/** Pure: which of the emptiest log blobs to rewrite now; none when it would gain nothing. */
export function chooseVictims(
  victims: readonly Victim[],
  usage: { readonly liveBlocks: number; readonly totalBlocks: number },
  policy: CleaningPolicy,
): readonly Victim[] {
  const excess = usage.totalBlocks - (usage.liveBlocks * policy.amplification + policy.slackBlocks);
  const sparse = victims.filter(({ liveBlocks, totalBlocks }) => liveBlocks <= totalBlocks * policy.utilisation);
  const small = victims.filter(({ totalBlocks }) => totalBlocks <= SMALL_BLOCKS);
  const live = (chosen: readonly Victim[]): number => chosen.reduce((sum, { liveBlocks }) => sum + liveBlocks, 0);
  if (excess > 0 && sparse.length > 0) return sparse.slice(0, VICTIMS_PER_ROUND);
  return live(small) >= WORTHWHILE_BLOCKS ? small : [];
}

export type CleanerOptions = {
  readonly native: NativeVolume;
  readonly log: VolumeLog;
  readonly appender: ImageAppender;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly policy: CleaningPolicy;
  readonly stop: AbortSignal;
};

/** Copies what is alive out of sparse log blobs. The next checkpoint makes these deletable (LSVD 3.5 calls it garbage collection). */
export class Cleaner {
  readonly #options: CleanerOptions;

  constructor(options: CleanerOptions) {
    this.#options = options;
  }

  /** One round; true when something was rewritten, so that a checkpoint frees space. */
  async run(): Promise<boolean> {
    const { native, policy, logger } = this.#options;
    const stats = native.stats();
    const most = SMALL_BLOCKS * VICTIMS_PER_ROUND;
    const victims = chooseVictims(native.pickVictims(most, policy.utilisation, SMALL_BLOCKS), stats, policy);
    if (victims.length === 0) return false;
    let moved = 0;
    for (const victim of victims) moved += await this.#stage(victim);
    await this.#write();
    logger.debug('cleaned', {
      victims: victims.length,
      moved,
      liveBlocks: stats.liveBlocks,
      totalBlocks: stats.totalBlocks,
    });
    return true;
  }

  async #stage(victim: Victim): Promise<number> {
    const { native, log, clock, stop } = this.#options;
    using deadline = new Deadline({
      clock,
      operation: `cleaning log blob ${victim.sequence}`,
      timeoutMs: READ_MS,
      parent: stop,
    });
    const image = await log.reader.readWhole(victim.sequence, deadline);
    try {
      const [offset, length] = [image.slot.offset + image.offset, image.length];
      try {
        return (await native.stageClean(offset, length)).stagedBlocks;
      } catch (err) {
        if (!NabuError.is(err, 'RESOURCE_EXHAUSTED')) throw err;
      }
      await this.#write();
      return (await native.stageClean(offset, length)).stagedBlocks;
    } finally {
      image.slot.release();
    }
  }

  async #write(): Promise<void> {
    const { native, appender } = this.#options;
    for (;;) {
      const image = await appender.append(MAX_IMAGE_BYTES, true, (offset, most, position) =>
        native.cleanImage(offset, most, position),
      );
      if (image === undefined) return;
      await image.durable.then(() => native.commit(image.sequence));
    }
  }
}
