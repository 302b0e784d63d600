import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { roundUpToBlock } from '../blob/index.ts';
import type { ImageAppender } from './image-appender.ts';
import { MAX_IMAGE_BYTES, type NativeVolume } from './native.ts';
import type { CheckpointPosition } from './owner-note.ts';
import type { VolumeLog } from './volume-log.ts';

export type CheckpointerOptions = {
  readonly native: NativeVolume;
  readonly log: VolumeLog;
  readonly appender: ImageAppender;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly slab: ArrayBuffer;
  readonly stop: AbortSignal;
};

const NOTE_ATTEMPT_MS = 30_000;
const DELETES_PER_ROUND = 512;

/**
 * Writes the changed pages of the map and a root as log blobs, names them in the note, and only then deletes what they made
 * dead: an opener that reads an older note still finds everything that note needs.
 */
export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #running: Promise<boolean> | undefined;

  constructor(options: CheckpointerOptions) {
    this.#options = options;
  }

  get running(): boolean {
    return this.#running !== undefined;
  }

  /** False when there was nothing to write. A call during a checkpoint gets that one's result. */
  run(): Promise<boolean> {
    this.#running ??= this.#checkpoint().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #checkpoint(): Promise<boolean> {
    const { native, log, logger } = this.#options;
    if (!native.beginCheckpoint()) return false;
    const before = log.checkpoint;
    const tableSequence = await this.#writeTable();
    const rootSequence = await this.#writePages();
    const { coveredSequence, sizeBytes } = native.stats();
    await this.#publish(
      { epoch: log.epoch, rootSequence, throughSequence: coveredSequence, tableSequence },
      BigInt(sizeBytes),
    );
    native.checkpointPublished();
    logger.debug('checkpoint', { rootSequence, coveredSequence });
    if (before !== undefined) await log.dead.delete([before.tableSequence]);
    await this.#deleteDead();
    return true;
  }

  async #writeTable(): Promise<bigint> {
    const { log, appender, slab } = this.#options;
    const table = log.encodeTable();
    const length = roundUpToBlock(table.length);
    const image = await appender.append(length, false, (offset) => {
      const room = new Uint8Array(slab, offset, length);
      room.fill(0);
      room.set(table);
      return { length };
    });
    if (image === undefined)
      throw NabuError.of('ABORTED', { operation: 'checkpoint', reason: 'the table was not written' });
    return image.sequence;
  }

  /** Returns the sequence of the root, durable with everything before it. */
  async #writePages(): Promise<bigint> {
    const { native, appender } = this.#options;
    for (;;) {
      const image = await appender.append(MAX_IMAGE_BYTES, false, (offset, most, position) =>
        native.nextCheckpointImage(offset, most, position),
      );
      if (image === undefined)
        throw NabuError.of('ABORTED', { operation: 'checkpoint', reason: 'there is no next image' });
      const committed = image.durable.then(() => native.commit(image.sequence));
      committed.catch(() => undefined); // the root's turn rejects too, and is awaited
      if (!image.built.last) continue;
      await committed;
      return image.sequence;
    }
  }

  async #publish(position: CheckpointPosition, sizeBytes: bigint): Promise<void> {
    const { log, clock, logger, stop } = this.#options;
    for (;;) {
      try {
        using deadline = new Deadline({
          clock,
          operation: 'storing the note',
          timeoutMs: NOTE_ATTEMPT_MS,
          parent: stop,
        });
        return await log.publishCheckpoint(position, sizeBytes, deadline);
      } catch (err) {
        if (stop.aborted || !NabuError.is(err, 'VOLUME_OPEN_BLOCKED')) throw err;
        logger.warn('a checkpoint waits for home nodes to take its note', { nodes: err.fields.nodes });
      }
    }
  }

  /** Blobs with a reader stay for the next round. */
  async #deleteDead(): Promise<void> {
    const { native, log } = this.#options;
    for (;;) {
      const named = native.deletable(DELETES_PER_ROUND);
      const free = named.filter((sequence) => !log.reader.isReading(sequence));
      if (free.length === 0) return;
      await log.dead.delete(free);
      native.forget(free);
      for (const sequence of free) log.reader.forget(sequence);
      if (named.length < DELETES_PER_ROUND) return;
    }
  }
}
