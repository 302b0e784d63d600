import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { type BlobKey, logPolicy } from '../blob/index.ts';
import type { BlobStore, GetRequest, GetResult } from '../client/index.ts';
import type { VolumeSpec } from './home-nodes.ts';
import type { WaitBoard } from './wait-board.ts';

export type LogReaderOptions = {
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly spec: VolumeSpec;
  readonly waits: WaitBoard;
  readonly keyOf: (sequence: bigint) => BlobKey;
};

/** Lengths are 60 bytes of memory each and save a round trip on a read. */
const KNOWN_LENGTHS = 65_536;
const ATTEMPT_MS = 30_000;

/** Reads log blobs by sequence, whole or a range. Waits while a blob is merely unreadable now; says so when it is lost. */
export class LogReader {
  readonly #options: LogReaderOptions;
  /** Insertion order is age: the oldest are forgotten first. */
  readonly #lengths = new Map<bigint, number>();
  readonly #reading = new Map<bigint, number>();

  constructor(options: LogReaderOptions) {
    this.#options = options;
  }

  /** The length tells the form of a log blob, and its geometry. */
  learn(sequence: bigint, blobLength: number): void {
    this.#lengths.set(sequence, blobLength);
    if (this.#lengths.size <= KNOWN_LENGTHS) return;
    for (const oldest of this.#lengths.keys()) {
      this.#lengths.delete(oldest);
      return;
    }
  }

  forget(sequence: bigint): void {
    this.#lengths.delete(sequence);
  }

  /** A blob that is being read must not be deleted under its reader. */
  isReading(sequence: bigint): boolean {
    return this.#reading.has(sequence);
  }

  /** The caller releases the slot. */
  async readWhole(sequence: bigint, deadline: Deadline): Promise<GetResult> {
    return await this.#get(sequence, deadline, {});
  }

  /**
   * Bytes [offset, offset + length) of the blob, however long it takes; until `stop`. BLOB_LOST or BLOB_NOT_FOUND when it is proven
   * that they are gone. The caller releases the slot.
   */
  async readRange(sequence: bigint, offset: number, length: number, stop: AbortSignal): Promise<GetResult> {
    for (;;) {
      using deadline = new Deadline({
        clock: this.#options.clock,
        operation: `reading log blob ${sequence}`,
        timeoutMs: ATTEMPT_MS,
        parent: stop,
      });
      try {
        return await this.#get(sequence, deadline, { range: { offset, length } });
      } catch (err) {
        if (stop.aborted || isLoss(err) || !deadline.expired) throw err;
      }
    }
  }

  async #get(sequence: bigint, deadline: Deadline, what: Pick<GetRequest, 'range'>): Promise<GetResult> {
    const { blobs, spec, waits, keyOf } = this.#options;
    const key = keyOf(sequence);
    const blobLength = this.#lengths.get(sequence);
    this.#reading.set(sequence, (this.#reading.get(sequence) ?? 0) + 1);
    try {
      const result = await blobs.get({
        ...what,
        key,
        policy: blobLength === undefined ? spec.policy : logPolicy(spec.policy, blobLength),
        ...(blobLength === undefined ? {} : { blobLength }),
        homeSet: spec.homeSet,
        failureDomain: spec.failureDomain,
        maxShardsPerDomain: spec.maxShardsPerDomain,
        unreadable: 'wait',
        waiting: (wait) =>
          wait === undefined ? waits.end('read', key) : waits.begin('read', key, wait.nodes, wait.reason),
        deadline,
      });
      if (blobLength === undefined) this.learn(sequence, result.blobLength);
      return result;
    } finally {
      waits.end('read', key);
      const readers = (this.#reading.get(sequence) ?? 1) - 1;
      if (readers === 0) this.#reading.delete(sequence);
      else this.#reading.set(sequence, readers);
    }
  }
}

/** Proven: no waiting brings it back. */
export function isLoss(err: unknown): boolean {
  return NabuError.is(err, 'BLOB_LOST', 'BLOB_NOT_FOUND');
}
