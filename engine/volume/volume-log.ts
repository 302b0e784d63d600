import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import {
  type BlobKey,
  formatWriterEpoch,
  logKey,
  logPolicy,
  type NodeId,
  type Stamp,
  type StampClock,
  type WriterEpoch,
  ZERO_WRITER_EPOCH,
} from '../blob/index.ts';
import type { BlobStore, GetResult, StripeBuffer } from '../client/index.ts';
import { DeadBlobs } from './dead-blobs.ts';
import { EpochTable } from './epoch-table.ts';
import { HomeFence } from './home-fence.ts';
import type { HomeNodes, VolumeSpec } from './home-nodes.ts';
import { isLoss, LogReader } from './log-reader.ts';
import { LogWriter } from './log-writer.ts';
import { findNewestNote } from './newest-note.ts';
import { type CheckpointPosition, MANY_OPENS, type OwnerNote } from './owner-note.ts';
import { replay } from './replay.ts';
import type { WaitBoard } from './wait-board.ts';

export type VolumeLogOptions = {
  readonly blobs: BlobStore;
  readonly nodes: HomeNodes;
  readonly clock: Clock;
  readonly stamps: StampClock;
  readonly logger: Logger;
  readonly spec: VolumeSpec;
  readonly epoch: WriterEpoch;
  readonly waits: WaitBoard;
};

/** through: `from - 1` when there is nothing. */
export type Resumed = { readonly through: bigint; readonly lengths: ReadonlyMap<bigint, number> };

/** Who rebuilds the volume from its log. */
export interface Replayer {
  /** The image with the root of the checkpoint; returns the last sequence that it covers. */
  loadRoot(image: GetResult): Promise<bigint>;
  /**
   * Applies what it still has of the log blobs after the root, if the writer `last` (zero: nobody) was the last one to open the volume:
   * returns how far that goes, and the lengths of those blobs. Nothing of it needs to be looked for.
   */
  resume(last: WriterEpoch): Promise<Resumed>;
  apply(sequence: bigint, image: GetResult): Promise<void>;
}

/**
 * The log of one volume under one writer epoch (DESIGN section 10): opened by fence, note, replay and open record, in that order; then
 * written in order and read. Knows nothing of blocks: images are bytes.
 */
export class VolumeLog {
  readonly reader: LogReader;
  readonly writer: LogWriter;
  readonly dead: DeadBlobs;
  readonly #options: VolumeLogOptions;
  readonly #fence: HomeFence;
  readonly #table: EpochTable;
  #note: OwnerNote;
  #previousEpoch: WriterEpoch = ZERO_WRITER_EPOCH;
  #replayed = 0;

  private constructor(options: VolumeLogOptions, fence: HomeFence, table: EpochTable, note: OwnerNote) {
    this.#options = options;
    this.#fence = fence;
    this.#table = table;
    this.#note = note;
    const keyOf = (sequence: bigint): BlobKey => logKey(options.spec.id, table.rangeOf(sequence).epoch, sequence);
    this.reader = new LogReader({ ...options, keyOf });
    this.writer = new LogWriter({ ...options, learned: (sequence, length) => this.reader.learn(sequence, length) });
    this.dead = new DeadBlobs({ ...options, keyOf });
  }

  /**
   * Fences older writers, replays what they left and records the cut before it resolves. VOLUME_OPEN_BLOCKED names the nodes that
   * are needed and did not answer before the deadline, BLOB_LOST what is gone for good, FENCED a newer writer.
   */
  static async open(
    options: VolumeLogOptions,
    makeReplayer: (log: VolumeLog, sizeBytes: bigint) => Replayer,
    deadline: Deadline,
  ): Promise<VolumeLog> {
    const openedStamp = options.stamps.next();
    const fence = new HomeFence(options);
    fence.start();
    try {
      await fence.established(deadline);
      const note = await findNewestNote(options, fence, deadline);
      const start = note ?? firstNote(options);
      const table = await readTable(options, start, deadline);
      const log = new VolumeLog(options, fence, table, start);
      const sizeBytes = maxOf(start.sizeBytes, options.spec.sizeBytes);
      await log.#replay(makeReplayer(log, sizeBytes), openedStamp, deadline);
      return log;
    } catch (err) {
      const superseded = isLoss(err) ? await whoSuperseded(fence, deadline) : undefined;
      await fence.close();
      throw superseded ?? blockedBy(err, options.spec, fence.missing);
    }
  }

  get epoch(): WriterEpoch {
    return this.#options.epoch;
  }

  /** The epoch before ours. */
  get previousEpoch(): WriterEpoch {
    return this.#previousEpoch;
  }

  get checkpoint(): CheckpointPosition | undefined {
    return this.#note.checkpoint;
  }

  /** Log blobs that opening went through. */
  get replayed(): number {
    return this.#replayed;
  }

  /** A checkpoint should be made before serving: the note has no room for many more opens. */
  get wantsCheckpoint(): boolean {
    return this.#note.opens.length >= MANY_OPENS;
  }

  get unreachableNodes(): readonly NodeId[] {
    return this.#fence.missing;
  }

  /** A newer writer has been seen. */
  get fencedBy(): NabuError | undefined {
    return this.#fence.fencedBy ?? this.writer.failure;
  }

  /** Which epoch wrote which sequence, as a log blob that a checkpoint refers to. */
  encodeTable(): Buffer {
    return this.#table.encode();
  }

  /** Makes a durable checkpoint the one that openers begin with. Only then may blobs that it frees be deleted. */
  async publishCheckpoint(checkpoint: CheckpointPosition, sizeBytes: bigint, deadline: Deadline): Promise<void> {
    await this.#publish({ checkpoint, opens: [], sizeBytes }, deadline);
  }

  async publishSize(sizeBytes: bigint, deadline: Deadline): Promise<void> {
    await this.#publish({ sizeBytes }, deadline);
  }

  /** Stops; what is in flight is given up. Nothing is flushed here. */
  async close(): Promise<void> {
    await this.writer.close();
    await this.dead.close();
    await this.#fence.close();
  }

  async #publish(change: Partial<OwnerNote>, deadline: Deadline): Promise<void> {
    const stamp = this.#options.stamps.next();
    const counter = this.#note.counter + 1;
    const note = { ...this.#note, ...change, epoch: this.epoch, counter, stamp };
    this.#note = note;
    await this.#fence.publish(note, deadline);
  }

  async #replay(replayer: Replayer, openedStamp: Stamp, deadline: Deadline): Promise<void> {
    const { spec, logger, waits } = this.#options;
    const previous = this.#table.last;
    let from = 1n;
    if (this.#note.checkpoint !== undefined)
      from = (await this.#loadRoot(replayer, this.#note.checkpoint, deadline)) + 1n;
    from = await this.#resume(replayer, previous?.epoch ?? ZERO_WRITER_EPOCH, from);
    const cut =
      previous === undefined
        ? 0n
        : await replay({
            ...this.#options,
            table: this.#table,
            from,
            acceptedThrough: maxOf(previous.from - 1n, from - 1n, this.#note.checkpoint?.rootSequence ?? 0n),
            isFenced: (node) => this.#fence.isFenced(node),
            apply: async (sequence, image) => {
              this.reader.learn(sequence, image.blobLength);
              const bytes = image.slot.bytes.subarray(image.offset, image.offset + image.length);
              if (!EpochTable.isEncoded(bytes)) await replayer.apply(sequence, image);
            },
            onWait: (key, nodes) =>
              nodes === undefined ? waits.end('replay', key) : waits.begin('replay', key, nodes, 'nodes are silent'),
            deadline,
          });
    this.#previousEpoch = previous?.epoch ?? ZERO_WRITER_EPOCH;
    this.#replayed = Number(cut - from + 1n);
    const record = { epoch: this.epoch, prevEpoch: this.#previousEpoch, cutSequence: cut, stamp: openedStamp };
    const opens = [...this.#note.opens, record];
    this.#table.open(record);
    this.#note = { ...this.#note, counter: 0 };
    await this.#publish({ opens: opens.filter((open) => this.#table.has(open.epoch)) }, deadline);
    this.writer.begin(cut + 1n);
    // Of earlier openers too: they may have died before every node knew.
    for (const open of opens) this.dead.buryTail(open.prevEpoch, open.cutSequence, openedStamp);
    logger.info('volume log opened', {
      volumeId: spec.id,
      epoch: formatWriterEpoch(this.epoch),
      replayed: this.#replayed,
      lastSequence: cut,
      unreachable: this.#fence.missing,
    });
  }

  async #resume(replayer: Replayer, last: WriterEpoch, from: bigint): Promise<bigint> {
    const { through, lengths } = await replayer.resume(last);
    for (const [sequence, length] of lengths) this.reader.learn(sequence, length);
    return through >= from ? through + 1n : from;
  }

  async #loadRoot(replayer: Replayer, checkpoint: CheckpointPosition, deadline: Deadline): Promise<bigint> {
    const image = await this.reader.readWhole(checkpoint.rootSequence, deadline);
    try {
      return await replayer.loadRoot(image);
    } finally {
      image.slot.release();
    }
  }
}

function maxOf(...values: readonly bigint[]): bigint {
  let most = 0n;
  for (const value of values) if (value > most) most = value;
  return most;
}

/**
 * What we miss may have been deleted by a newer opener whose fence we have not met yet: then we are fenced, and nothing is lost.
 * Undefined when our fence is still the highest.
 */
async function whoSuperseded(fence: HomeFence, deadline: Deadline): Promise<unknown> {
  return await fence.reconfirm(deadline).catch((err: unknown) => err);
}

/** Nodes that did not answer in time, whatever they were asked, as the one error that names them. */
function blockedBy(err: unknown, { id, homeSet }: VolumeSpec, missing: readonly NodeId[]): unknown {
  if (!NabuError.is(err) || !err.retryable) return err;
  if (err.code === 'VOLUME_OPEN_BLOCKED' || err.code === 'FENCED' || err.code === 'CANCELLED') return err;
  const named = Array.isArray(err.fields.nodes) ? err.fields.nodes.map(String) : [];
  const known = named.length > 0 ? named : missing;
  const nodes = known.length > 0 ? known : homeSet;
  return NabuError.of('VOLUME_OPEN_BLOCKED', { volumeId: id, nodes: [...nodes], reason: err.message }, { cause: err });
}

/** Of a volume that was never opened; proven by findNewestNote. */
function firstNote({ spec, epoch }: VolumeLogOptions): OwnerNote {
  const { sizeBytes, policy, createdStamp } = spec;
  return { epoch, counter: 0, stamp: createdStamp, sizeBytes, policy, checkpoint: undefined, opens: [] };
}

async function readTable(options: VolumeLogOptions, note: OwnerNote, deadline: Deadline): Promise<EpochTable> {
  const { checkpoint } = note;
  let table = new EpochTable();
  if (checkpoint !== undefined) {
    const keyOf = (sequence: bigint): BlobKey => logKey(options.spec.id, checkpoint.epoch, sequence);
    const image = await new LogReader({ ...options, keyOf }).readWhole(checkpoint.tableSequence, deadline);
    try {
      table = EpochTable.decode(image.slot.bytes.subarray(image.offset, image.offset + image.length));
    } finally {
      image.slot.release();
    }
  }
  for (const record of note.opens) table.open(record);
  return table;
}

/** The form that an image of this length is stored in, and room for it. */
export async function allocImage(
  { blobs, spec }: Pick<VolumeLogOptions, 'blobs' | 'spec'>,
  length: number,
  deadline: Deadline,
): Promise<StripeBuffer> {
  return await blobs.allocStripe(logPolicy(spec.policy, length), length, deadline);
}
