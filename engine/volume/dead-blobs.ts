import { Deadline, Semaphore } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import {
  type BlobKey,
  compareWriterEpochs,
  isNodeId,
  type NodeId,
  type Stamp,
  type StampClock,
  type WriterEpoch,
  ZERO_WRITER_EPOCH,
} from '../blob/index.ts';
import type { BlobStore } from '../client/index.ts';
import type { HomeNodes, VolumeSpec } from './home-nodes.ts';

export type DeadBlobsOptions = {
  readonly blobs: BlobStore;
  readonly nodes: HomeNodes;
  readonly clock: Clock;
  readonly stamps: StampClock;
  readonly logger: Logger;
  readonly spec: VolumeSpec;
  readonly keyOf: (sequence: bigint) => BlobKey;
};

const CALL_TIMEOUT_MS = 10_000;
const RETRY_FIRST_MS = 1000;
const RETRY_MOST_MS = 60_000;
/** Log blobs that one message to a node names. */
const BATCH = 256;
const DELETES_AT_ONCE = 2;
/** Deletes that an absent node still owes; beyond, its shards wait for repair, which compares them with the others' tombstones. */
const MAX_OWED_PER_NODE = 65_536;
const LAST_SEQUENCE = (1n << 64n) - 1n;

/** Takes away what can never be read again: log blobs without a live block, and tails beyond a cut. */
export class DeadBlobs {
  readonly #options: DeadBlobsOptions;
  readonly #stop = new AbortController();
  readonly #permits = new Semaphore({ name: 'log blob deletes', permits: DELETES_AT_ONCE, maxWaiters: 65_536 });
  readonly #owed = new Map<NodeId, Set<bigint>>();
  readonly #tasks = new Set<Promise<void>>();
  #dropped = 0;

  constructor(options: DeadBlobsOptions) {
    this.#options = options;
  }

  /** Deletes that were owed to an absent node and did not fit. */
  get dropped(): number {
    return this.#dropped;
  }

  get owed(): number {
    let sum = 0;
    for (const sequences of this.#owed.values()) sum += sequences.size;
    return sum;
  }

  /** Resolves when every node that answers has a durable tombstone; the others are told when they are back. */
  async delete(sequences: readonly bigint[]): Promise<void> {
    const batches: (readonly bigint[])[] = [];
    for (let at = 0; at < sequences.length; at += BATCH) batches.push(sequences.slice(at, at + BATCH));
    await Promise.all(batches.map((batch) => this.#permits.run(() => this.#deleteBatch(batch))));
  }

  /** Everything that the epoch wrote beyond the cut, whoever holds it. Goes on in the background until every node knows. */
  buryTail(epoch: WriterEpoch, cutSequence: bigint, stamp: Stamp): void {
    if (compareWriterEpochs(epoch, ZERO_WRITER_EPOCH) === 0) return; // before the first open there was nothing
    for (const node of this.#options.spec.homeSet) {
      this.#run(this.#buryOn(node, epoch, cutSequence, stamp));
    }
  }

  async close(): Promise<void> {
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'deleting dead log blobs' }));
    await Promise.allSettled(this.#tasks);
  }

  #run(task: Promise<void>): void {
    this.#tasks.add(task);
    task.catch(() => undefined).finally(() => this.#tasks.delete(task));
  }

  async #deleteBatch(sequences: readonly bigint[]): Promise<void> {
    for (const node of await this.#deleteOn(sequences, this.#options.spec.homeSet)) {
      for (const sequence of sequences) this.#owe(node, sequence);
    }
  }

  /** Returns the nodes that did not confirm. */
  async #deleteOn(sequences: readonly bigint[], nodes: readonly NodeId[]): Promise<readonly NodeId[]> {
    const { blobs, spec, clock, keyOf } = this.#options;
    using deadline = new Deadline({
      clock,
      operation: `deleting ${sequences.length} log blobs`,
      timeoutMs: CALL_TIMEOUT_MS,
      parent: this.#stop.signal,
    });
    try {
      await blobs.delete({ keys: sequences.map(keyOf), policy: spec.policy, homeSet: nodes, deadline });
      return [];
    } catch (err) {
      if (this.#stop.signal.aborted || !NabuError.is(err)) throw err;
      const named = Array.isArray(err.fields.nodes) ? err.fields.nodes.map(String).filter(isNodeId) : [];
      return named.length > 0 ? named : nodes;
    }
  }

  #owe(node: NodeId, sequence: bigint): void {
    let sequences = this.#owed.get(node);
    if (sequences === undefined) {
      sequences = new Set();
      this.#owed.set(node, sequences);
      this.#run(this.#settle(node, sequences));
    }
    if (sequences.size < MAX_OWED_PER_NODE) sequences.add(sequence);
    else this.#dropped++;
  }

  async #settle(node: NodeId, sequences: Set<bigint>): Promise<void> {
    for (let delayMs = RETRY_FIRST_MS; sequences.size > 0; ) {
      await this.#options.clock.sleep(delayMs, this.#stop.signal);
      delayMs = Math.min(RETRY_MOST_MS, delayMs * 2);
      while (sequences.size > 0) {
        const batch = firstOf(sequences);
        if ((await this.#deleteOn(batch, [node])).length > 0) break;
        for (const sequence of batch) sequences.delete(sequence);
        delayMs = RETRY_FIRST_MS;
      }
    }
    this.#owed.delete(node);
  }

  async #buryOn(node: NodeId, epoch: WriterEpoch, cutSequence: bigint, stamp: Stamp): Promise<void> {
    const { nodes, spec, clock, logger } = this.#options;
    const range = { ...epoch, fromSequence: cutSequence + 1n, toSequence: LAST_SEQUENCE };
    for (let delayMs = RETRY_FIRST_MS; ; delayMs = Math.min(RETRY_MOST_MS, delayMs * 2)) {
      try {
        using deadline = new Deadline({
          clock,
          operation: `burying a dead tail on ${node}`,
          timeoutMs: CALL_TIMEOUT_MS,
          parent: this.#stop.signal,
        });
        await nodes.deleteOwnerRange(node, spec.id, range, stamp, deadline);
        return;
      } catch (err) {
        if (this.#stop.signal.aborted) return;
        logger.debug('a dead tail stays until its node is back', { volumeId: spec.id, node, cutSequence, err });
      }
      await clock.sleep(delayMs, this.#stop.signal);
    }
  }
}

function firstOf(sequences: ReadonlySet<bigint>): bigint[] {
  const batch: bigint[] = [];
  for (const sequence of sequences) {
    if (batch.length === BATCH) break;
    batch.push(sequence);
  }
  return batch;
}
