import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { type BlobKey, blobKeyHex, logPolicy, type NodeId } from '../blob/index.ts';
import type { BlobStore, GetRequest, GetResult, ShardFound } from '../client/index.ts';
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
const RETRY_FIRST_MS = 20;
const RETRY_MOST_MS = 1000;

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
    this.#reading.set(sequence, (this.#reading.get(sequence) ?? 0) + 1);
    try {
      const blobLength = this.#lengths.get(sequence) ?? (await this.#locate(sequence, key, deadline));
      const result = await blobs.get({
        ...what,
        key,
        policy: logPolicy(spec.policy, blobLength),
        blobLength,
        homeSet: spec.homeSet,
        failureDomain: spec.failureDomain,
        maxShardsPerDomain: spec.maxShardsPerDomain,
        unreadable: 'wait',
        waiting: (wait) =>
          wait === undefined ? waits.end('read', key) : waits.begin('read', key, wait.nodes, wait.reason),
        deadline,
      });
      return result;
    } finally {
      waits.end('read', key);
      const readers = (this.#reading.get(sequence) ?? 1) - 1;
      if (readers === 0) this.#reading.delete(sequence);
      else this.#reading.set(sequence, readers);
    }
  }

  /**
   * The length of a blob that nobody told us of: it decides between the striped form and copies, and a node that holds a shard knows
   * it. Waits while no node has it and some do not say; BLOB_NOT_FOUND when all say that there is none.
   */
  async #locate(sequence: bigint, key: BlobKey, deadline: Deadline): Promise<number> {
    const { blobs, spec, waits, clock } = this.#options;
    for (let delayMs = RETRY_FIRST_MS; ; delayMs = Math.min(RETRY_MOST_MS, delayMs * 2)) {
      const found = Promise.withResolvers<void>();
      const silent: NodeId[] = [];
      const asked = spec.homeSet.map(async (node) => {
        const answer = (await blobs.probe({ key, nodes: [node], deadline })).get(node);
        const shard = answer?.state === 'found' ? answer.shards.find((one) => isOurForm(spec, one)) : undefined;
        if (shard !== undefined) {
          this.learn(sequence, shard.blobLength);
          found.resolve();
        } else if (answer?.state !== 'absent') silent.push(node);
      });
      await Promise.race([Promise.all(asked), found.promise]);
      const blobLength = this.#lengths.get(sequence);
      if (blobLength !== undefined) return blobLength;
      if (silent.length === 0) throw NabuError.of('BLOB_NOT_FOUND', { key: blobKeyHex(key) });
      waits.begin('read', key, silent, 'no node that answers has it');
      await clock.sleep(delayMs, deadline.signal);
    }
  }
}

/** A shard of the form that a log blob of this length has. */
function isOurForm({ policy }: VolumeSpec, { k, m, blobLength }: ShardFound): boolean {
  const form = logPolicy(policy, blobLength);
  return form.k === k && form.m === m;
}

/** Proven: no waiting brings it back. */
export function isLoss(err: unknown): boolean {
  return NabuError.is(err, 'BLOB_LOST', 'BLOB_NOT_FOUND');
}
