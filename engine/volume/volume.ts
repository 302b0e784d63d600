import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import { formatWriterEpoch, type NodeId, type StampClock, type WriterEpoch } from '../blob/index.ts';
import type { BlobStore } from '../client/index.ts';
import type { Slab } from '../slab/index.ts';
import { Checkpointer } from './checkpointer.ts';
import { Cleaner, type CleaningPolicy, DEFAULT_CLEANING } from './cleaner.ts';
import { Fetcher } from './fetcher.ts';
import type { HomeNodes, VolumeSpec } from './home-nodes.ts';
import { ImageAppender } from './image-appender.ts';
import {
  type NativeVolume,
  type NativeVolumeStats,
  openNativeVolume,
  type VolumeEvent,
  type VolumeFrontend,
} from './native.ts';
import { Sealer } from './sealer.ts';
import { type Replayer, VolumeLog } from './volume-log.ts';
import { type VolumeWait, WaitBoard } from './wait-board.ts';

export type VolumeLimits = {
  readonly readCacheBytes: number;
  readonly mapCacheBytes: number;
  readonly maxImagesInFlight: number;
  readonly maxFetchesInFlight: number;
  readonly sealDelayMs: number;
  /** A checkpoint after so many bytes of log: what replay reads at most. */
  readonly checkpointBytes: number;
  /** Or after so many log blobs: each costs replay a few milliseconds, however small. */
  readonly checkpointBlobs: number;
  /** And after this long when anything was written. */
  readonly checkpointIntervalMs: number;
  readonly cleaning: CleaningPolicy;
};

const MIB = 1024 * 1024;

export const DEFAULT_VOLUME_LIMITS: VolumeLimits = {
  readCacheBytes: 64 * MIB,
  mapCacheBytes: 64 * MIB,
  maxImagesInFlight: 8,
  maxFetchesInFlight: 64,
  sealDelayMs: 20,
  checkpointBytes: 512 * MIB,
  checkpointBlobs: 512,
  checkpointIntervalMs: 60_000,
  cleaning: DEFAULT_CLEANING,
};

export type VolumeOptions = {
  readonly slab: Slab;
  readonly blobs: BlobStore;
  readonly nodes: HomeNodes;
  readonly clock: Clock;
  readonly stamps: StampClock;
  readonly logger: Logger;
  readonly spec: VolumeSpec;
  readonly epoch: WriterEpoch;
  readonly frontend: VolumeFrontend;
  readonly readOnly: boolean;
  /** 0: a request that cannot be made safe waits for ever. */
  readonly ioTimeoutMs: number;
  readonly limits?: Partial<VolumeLimits>;
  /** Called once when a newer writer, or an error that leaves no safe way on, has ended this volume. */
  readonly onFailed: (err: NabuError) => void;
};

export type VolumeState = 'opening' | 'serving' | 'waiting' | 'failed';

export type VolumeStatus = {
  readonly state: VolumeState;
  readonly reason: string;
  readonly waitingOn: readonly VolumeWait[];
  readonly unreachableNodes: readonly NodeId[];
  readonly epoch: WriterEpoch;
  readonly checkpointSequence: bigint;
  /** Log blobs that opening went through: looked for on the nodes, and known from shared memory. */
  readonly replayed: number;
  readonly resumed: number;
  readonly stats: NativeVolumeStats;
};

/** Log blobs; opening took noticeably long. */
const MANY_REPLAYED = 64;
const MAINTENANCE_MS = 1000;

/** One open volume: its log, its native core, and what runs between them. */
export class Volume {
  readonly native: NativeVolume;
  readonly #options: VolumeOptions;
  readonly #limits: VolumeLimits;
  readonly #log: VolumeLog;
  readonly #waits: WaitBoard;
  readonly #stop = new AbortController();
  readonly #sealer: Sealer;
  readonly #fetcher: Fetcher;
  readonly #checkpointer: Checkpointer;
  readonly #cleaner: Cleaner;
  #failure: NabuError | undefined;
  /** Images that shared memory had. */
  #resumed = 0;
  #serving = false;
  #frontendClosed = false;
  #timer: Timer | undefined;
  #maintenance: Promise<void> | undefined;
  #checkpointWanted = false;
  #checkpointedBytes = 0;
  #checkpointedImages = 0;
  #checkpointedAtMs: number;

  private constructor(options: VolumeOptions, log: VolumeLog, waits: WaitBoard, sizeBytes: bigint) {
    const limits = { ...DEFAULT_VOLUME_LIMITS, ...options.limits };
    const { clock, logger, slab, spec } = options;
    this.#options = options;
    this.#limits = limits;
    this.#log = log;
    this.#waits = waits;
    this.#checkpointedAtMs = clock.monotonicMs();
    this.native = openNativeVolume(
      slab.buffer,
      {
        volumeId: spec.id,
        sizeBytes: Number(sizeBytes),
        frontend: options.frontend,
        readCacheBytes: limits.readCacheBytes,
        mapCacheBytes: limits.mapCacheBytes,
        ioTimeoutMs: options.ioTimeoutMs,
        readOnly: options.readOnly,
      },
      (events) => this.#onEvents(events),
    );
    const stop = this.#stop.signal;
    const appender = new ImageAppender({ ...options, log, stop, maxInFlight: limits.maxImagesInFlight });
    const parts = { native: this.native, log, appender, clock, logger, stop, slab: slab.buffer };
    const onFailure = (err: unknown): void => this.#fail(err);
    this.#sealer = new Sealer({ ...parts, sealDelayMs: limits.sealDelayMs, onFailure });
    this.#fetcher = new Fetcher({ ...parts, reader: log.reader, maxInFlight: limits.maxFetchesInFlight });
    this.#checkpointer = new Checkpointer(parts);
    this.#cleaner = new Cleaner({ ...parts, policy: limits.cleaning });
  }

  /**
   * Fence, replay, open record, then what the write ring still holds; serves when it resolves. Errors as VolumeLog.open, and what
   * the native core says of a ring of another volume.
   */
  static async open(options: VolumeOptions, deadline: Deadline, waits = boardFor(options)): Promise<Volume> {
    let volume: Volume | undefined;
    try {
      await VolumeLog.open(
        { ...options, waits },
        (log, sizeBytes) => {
          volume = new Volume(options, log, waits, sizeBytes);
          return volume.#replayer();
        },
        deadline,
      );
      if (volume === undefined)
        throw NabuError.of('ABORTED', { operation: 'opening the volume', reason: 'it was not replayed' });
      await volume.#start(deadline);
      return volume;
    } catch (err) {
      await volume?.abandon();
      throw err;
    }
  }

  get status(): VolumeStatus {
    const stats = this.native.stats();
    const waits = this.#waits.all;
    return {
      state: this.#stateOf(waits.length > 0 && stats.waitingReads + stats.waitingWrites + stats.waitingFlushes > 0),
      reason: this.#failure?.message ?? '',
      waitingOn: waits,
      unreachableNodes: this.#log.unreachableNodes,
      epoch: this.#log.epoch,
      checkpointSequence: this.#log.checkpoint?.rootSequence ?? 0n,
      replayed: this.#log.replayed,
      resumed: this.#resumed,
      stats,
    };
  }

  #stateOf(waiting: boolean): VolumeState {
    if (this.#failure !== undefined) return 'failed';
    if (!this.#serving) return 'opening';
    return waiting ? 'waiting' : 'serving';
  }

  /** Everything that was written until now is durable. Waits as long as it takes, at most until the deadline. */
  async flush(deadline: Deadline): Promise<void> {
    this.#check();
    await deadline.race(this.#sealer.drain());
    await deadline.race(this.#log.writer.settled());
    // A request that the kernel sent meanwhile may have opened a new image; what was here before is sealed and settled.
    this.#check();
  }

  /** A checkpoint now; false when nothing changed since the last one. */
  async checkpoint(deadline: Deadline): Promise<boolean> {
    this.#check();
    return await deadline.race(this.#checkpointNow());
  }

  /** One round of cleaning, whatever the timer says, and the checkpoint that frees what it emptied. */
  async clean(deadline: Deadline): Promise<boolean> {
    this.#check();
    return await deadline.race(this.#cleanNow());
  }

  async resize(sizeBytes: bigint, deadline: Deadline): Promise<void> {
    this.#check();
    this.native.resize(Number(sizeBytes));
    await this.#log.publishSize(sizeBytes, deadline);
  }

  setIoTimeout(timeoutMs: number): void {
    this.native.setIoTimeout(timeoutMs);
  }

  /** Everything durable and a checkpoint, then gone. Throws at the deadline and goes on serving: nothing was given up. */
  async close(deadline: Deadline): Promise<void> {
    if (this.#failure === undefined) {
      await this.flush(deadline);
      // The last checkpoint makes the next opening short; without one the log alone has everything.
      if (!this.#options.readOnly) await this.checkpoint(deadline);
      await this.flush(deadline);
    }
    await this.abandon();
  }

  /** Stops at once. What is not sealed stays in the ring, requests stay unanswered: a crash, as far as anyone can tell. */
  async abandon(): Promise<void> {
    this.#serving = false;
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'serving the volume' }));
    this.#timer?.cancel();
    await this.#log.close();
    await this.#sealer.close();
    await this.#maintenance;
    await this.native.close();
  }

  #replayer(): Replayer {
    return {
      loadRoot: async ({ slot, offset, length }) =>
        (await this.native.loadRoot(slot.offset + offset, length)).coveredSequence,
      resume: async ({ generation, incarnation }) => {
        const { throughSequence, images } = await this.native.resumeJournal(generation, incarnation);
        const lengths = new Map<bigint, number>();
        for (let at = 0; at < images.length; at += 2) lengths.set(BigInt(images[at] ?? 0), images[at + 1] ?? 0);
        this.#resumed = lengths.size;
        return { through: throughSequence, lengths };
      },
      apply: async (_sequence, { slot, offset, length }) => await this.native.applyImage(slot.offset + offset, length),
    };
  }

  async #start(deadline: Deadline): Promise<void> {
    const { generation, incarnation } = this.#log.epoch;
    this.native.claimJournal(generation, incarnation);
    if (this.#log.wantsCheckpoint) await deadline.race(this.#checkpointer.run());
    const { entries, bytes } = this.native.reapplyRing();
    this.native.start();
    this.#serving = true;
    // A crash loop must not replay more each time.
    this.#checkpointWanted ||= this.#log.replayed >= MANY_REPLAYED;
    this.#checkpointedImages = -(this.#resumed + this.#log.replayed);
    if (this.#checkpointWanted) this.#maintain();
    else this.#armMaintenance();
    this.#options.logger.info('volume serves', {
      volumeId: this.#options.spec.id,
      epoch: formatWriterEpoch(this.#log.epoch),
      resumed: this.#resumed,
      ringEntries: entries,
      ringBytes: bytes,
    });
  }

  #onEvents(events: readonly VolumeEvent[]): void {
    for (const event of events) {
      if (event.type === 'fetch') this.#fetcher.onFetch(event);
      else if (event.type === 'seal-wanted') this.#sealer.onSealWanted(event);
      else if (event.type === 'checkpoint-wanted') this.#checkpointWanted = true;
      else this.#onFrontendClosed(event.errno);
    }
    if (this.#checkpointWanted && this.#serving) this.#maintain();
  }

  /** No request comes any more: the device was taken away. */
  get frontendClosed(): boolean {
    return this.#frontendClosed;
  }

  #onFrontendClosed(errno: number): void {
    this.#frontendClosed = true;
    this.#options.logger.info('the kernel has closed the device', { volumeId: this.#options.spec.id, errno });
  }

  #armMaintenance(): void {
    if (this.#stop.signal.aborted) return;
    this.#timer = this.#options.clock.setTimer(() => this.#maintain(), MAINTENANCE_MS, { background: true });
  }

  #maintain(): void {
    if (this.#maintenance !== undefined || this.#stop.signal.aborted) return;
    this.#timer?.cancel();
    this.#maintenance = this.#maintainOnce()
      .catch((err: unknown) => this.#onMaintenanceError(err))
      .finally(() => {
        this.#maintenance = undefined;
        this.#armMaintenance();
      });
  }

  async #maintainOnce(): Promise<void> {
    const fencedBy = this.#log.fencedBy;
    if (fencedBy !== undefined) return this.#fail(fencedBy);
    const { clock } = this.#options;
    const written = this.#sealer.sealedBytes - this.#checkpointedBytes;
    const blobs = this.#sealer.sealedImages - this.#checkpointedImages;
    const late = clock.monotonicMs() - this.#checkpointedAtMs >= this.#limits.checkpointIntervalMs;
    const many = written >= this.#limits.checkpointBytes || blobs >= this.#limits.checkpointBlobs;
    const due = this.#checkpointWanted || many || (late && written > 0);
    if (!due) return;
    await this.#checkpointNow();
    await this.#cleanNow();
  }

  async #cleanNow(): Promise<boolean> {
    const cleaned = await this.#cleaner.run();
    if (cleaned) await this.#checkpointNow();
    return cleaned;
  }

  async #checkpointNow(): Promise<boolean> {
    this.#checkpointWanted = false;
    const [bytes, images] = [this.#sealer.sealedBytes, this.#sealer.sealedImages];
    const written = await this.#checkpointer.run();
    this.#checkpointedBytes = bytes;
    this.#checkpointedImages = images;
    this.#checkpointedAtMs = this.#options.clock.monotonicMs();
    return written;
  }

  /** Upkeep that failed is tried again; the volume serves on. */
  #onMaintenanceError(err: unknown): void {
    if (this.#stop.signal.aborted) return;
    if (NabuError.is(err, 'FENCED')) this.#fail(err);
    else
      this.#options.logger.error('upkeep of the volume failed and is tried again', {
        volumeId: this.#options.spec.id,
        err,
      });
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** For good: from here on every request is an I/O error. */
  #fail(err: unknown): void {
    if (this.#failure !== undefined || this.#stop.signal.aborted) return;
    const failure = NabuError.is(err)
      ? err
      : NabuError.of(
          'ABORTED',
          { operation: 'serving the volume', reason: 'an internal error, the log has it' },
          { cause: err },
        );
    this.#failure = failure;
    this.#options.logger.error('the volume has failed: every request is answered with an error from now on', {
      volumeId: this.#options.spec.id,
      epoch: formatWriterEpoch(this.#log.epoch),
      err: err instanceof Error ? err : failure,
    });
    this.native.fail();
    this.#options.onFailed(failure);
  }
}

function boardFor({ logger, spec }: Pick<VolumeOptions, 'logger' | 'spec'>): WaitBoard {
  return new WaitBoard((wait) => {
    if (wait === undefined) logger.info('the volume waits no more', { volumeId: spec.id });
    else logger.warn('the volume waits', { volumeId: spec.id, ...wait });
  });
}
