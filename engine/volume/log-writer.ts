import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { blobKeyHex, logKey, logPolicy, shardLengthOf, type WriterEpoch } from '../blob/index.ts';
import type { BlobStore, StripeBuffer } from '../client/index.ts';
import type { VolumeSpec } from './home-nodes.ts';
import type { WaitBoard } from './wait-board.ts';

export type LogWriterOptions = {
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly spec: VolumeSpec;
  readonly epoch: WriterEpoch;
  readonly waits: WaitBoard;
  /** Told of every image that is durable. */
  readonly learned: (sequence: bigint, length: number) => void;
};

export type Appended = {
  readonly sequence: bigint;
  /** This image and all before it are on enough devices. Rejects with FENCED, or CANCELLED when the log is closed. */
  readonly durable: Promise<void>;
};

const ATTEMPT_MS = 30_000;
const RETRY_FIRST_MS = 20;
const RETRY_MOST_MS = 2000;

/**
 * Appends images to the log: several on their way at once, acknowledged strictly in order. A put that cannot be made safe is tried
 * again for ever and shown on the board of waits; only a newer writer ends it.
 */
export class LogWriter {
  readonly #options: LogWriterOptions;
  readonly #stop = new AbortController();
  #next = 0n;
  #tail: Promise<void> = Promise.resolve();
  #failure: NabuError | undefined;
  #inFlight = 0;

  constructor(options: LogWriterOptions) {
    this.#options = options;
  }

  /** The first sequence of this epoch. */
  begin(sequence: bigint): void {
    this.#next = sequence;
  }

  /** What the next `append` gets; an image carries its own sequence, so it must be known while it is built. */
  get nextSequence(): bigint {
    return this.#next;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** What ended this writer for good. */
  get failure(): NabuError | undefined {
    return this.#failure;
  }

  /** Everything that was appended until now is durable. */
  async settled(): Promise<void> {
    await this.#tail;
  }

  /** The first `length` bytes of the slot are an image built for `nextSequence`. Takes the stripe over. */
  append(stripe: StripeBuffer, length: number, compaction = false): Appended {
    const sequence = this.#next++;
    this.#inFlight++;
    const put = this.#put(sequence, shortened(stripe, length, this.#options.spec), compaction).finally(() => {
      this.#inFlight--;
      stripe.release();
    });
    const durable = Promise.all([this.#tail, put]).then(() => undefined);
    durable.catch(() => undefined); // whoever waits gets it; the chain must not end the process
    this.#tail = durable;
    return { sequence, durable };
  }

  async close(): Promise<void> {
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'writing the log' }));
    await this.#tail.catch(() => undefined);
  }

  async #put(sequence: bigint, stripe: StripeBuffer, compaction: boolean): Promise<void> {
    const { spec, epoch, waits, clock, logger } = this.#options;
    const key = logKey(spec.id, epoch, sequence);
    try {
      for (let delayMs = RETRY_FIRST_MS; ; delayMs = Math.min(RETRY_MOST_MS, delayMs * 2)) {
        if (this.#failure !== undefined) throw this.#failure;
        const failure = await this.#attempt(sequence, stripe, compaction);
        if (failure === undefined) break;
        const nodes = failure.fields.nodes;
        waits.begin('write', key, [], failure.message);
        logger.warn('a log blob cannot be made safe yet', {
          volumeId: spec.id,
          key: blobKeyHex(key),
          sequence,
          nodes,
          err: failure,
        });
        await clock.sleep(delayMs, this.#stop.signal);
      }
      this.#options.learned(sequence, stripe.blobLength);
    } finally {
      waits.end('write', key);
    }
  }

  /** Undefined when the put is done, what to try again after otherwise. */
  async #attempt(sequence: bigint, stripe: StripeBuffer, compaction: boolean): Promise<NabuError | undefined> {
    const { blobs, spec, epoch, waits, clock } = this.#options;
    const key = logKey(spec.id, epoch, sequence);
    using deadline = new Deadline({
      clock,
      operation: `writing log blob ${sequence}`,
      timeoutMs: ATTEMPT_MS,
      parent: this.#stop.signal,
    });
    try {
      await blobs.putStripe({
        key,
        stripe,
        policy: stripe.policy,
        failureDomain: spec.failureDomain,
        maxShardsPerDomain: spec.maxShardsPerDomain,
        log: {
          owner: spec.id,
          epoch,
          sequence,
          homeSet: spec.homeSet,
          homeSetVersion: spec.homeSetVersion,
          compaction,
        },
        tooFewNodes: 'wait',
        waiting: (wait) =>
          wait === undefined ? waits.end('write', key) : waits.begin('write', key, wait.nodes, wait.reason),
        deadline,
      });
      return undefined;
    } catch (err) {
      if (NabuError.is(err, 'FENCED')) this.#failure ??= err;
      if (this.#stop.signal.aborted || !NabuError.is(err) || NabuError.is(err, 'FENCED')) throw err;
      return err;
    }
  }
}

/** The same slot seen as the stripe of a shorter blob, in the form that its length asks for. */
function shortened(stripe: StripeBuffer, length: number, spec: VolumeSpec): StripeBuffer {
  const policy = logPolicy(spec.policy, length);
  const shardLength = shardLengthOf(policy, length);
  stripe.slot.bytes.fill(0, length, policy.k * shardLength); // the code reads whole shards
  return {
    slot: stripe.slot,
    policy,
    blobLength: length,
    shardLength,
    bytes: stripe.slot.bytes.subarray(0, length),
    release: () => undefined, // the slot is released through the stripe it was allocated as
  };
}
