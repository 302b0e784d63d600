import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { type BlobKey, blobKeyHex, logKey, type NodeId, type WriterEpoch } from '../blob/index.ts';
import type { BlobStore, GetResult } from '../client/index.ts';
import { askStampFor } from './ask-stamp.ts';
import type { EpochTable } from './epoch-table.ts';
import type { VolumeSpec } from './home-nodes.ts';
import { tryVerdict, type Verdict } from './log-verdict.ts';

export type ReplayOptions = {
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly spec: VolumeSpec;
  readonly table: EpochTable;
  /** Ours: a blob that is completed is put in our name, the old writer's is fenced. */
  readonly epoch: WriterEpoch;
  /** The first sequence to replay. */
  readonly from: bigint;
  /** History up to here was accepted by an earlier opener: nothing of it may be missing. Beyond it the end is looked for. */
  readonly acceptedThrough: bigint;
  readonly isFenced: (node: NodeId) => boolean;
  readonly apply: (sequence: bigint, image: GetResult) => Promise<void>;
  /** For people to see: begins or changes with nodes, ends with undefined. */
  readonly onWait: (key: BlobKey, nodes: readonly NodeId[] | undefined) => void;
  readonly deadline: Deadline;
};

/** Log blobs that are looked for at once; their images are in memory until it is their turn. */
const WINDOW = 16;
const RETRY_FIRST_MS = 50;
const RETRY_MOST_MS = 1000;

/**
 * Replays the log in order up to its end: the first blob that is proven unacknowledged. Returns the last accepted sequence.
 * VOLUME_OPEN_BLOCKED names the blob and the silent nodes when neither could be shown in time; BLOB_LOST names a blob of the accepted
 * history that is proven to be gone.
 */
export async function replay(options: ReplayOptions): Promise<bigint> {
  const stop = new AbortController();
  using deadline = new Deadline({
    clock: options.clock,
    operation: `replaying volume ${options.spec.id}`,
    timeoutMs: options.deadline.remainingMs(),
    parent: AbortSignal.any([options.deadline.signal, stop.signal]),
  });
  const ahead = new Map<bigint, Promise<Verdict>>();
  const look = (sequence: bigint): Promise<Verdict> => {
    const verdict = decide(options, sequence, deadline);
    verdict.catch(() => undefined); // awaited in its turn, or abandoned beyond the end
    ahead.set(sequence, verdict);
    return verdict;
  };
  try {
    for (let sequence = options.from; ; sequence++) {
      for (let next = sequence; next < sequence + BigInt(WINDOW); next++) if (!ahead.has(next)) look(next);
      const verdict = await (ahead.get(sequence) ?? look(sequence));
      ahead.delete(sequence);
      if (verdict.kind === 'unacknowledged') return endOfLog(options, sequence, verdict.shardsFound);
      await accept(options, sequence, verdict, deadline);
    }
  } finally {
    stop.abort(NabuError.of('CANCELLED', { operation: 'looking beyond the end of the log' }));
    for (const verdict of ahead.values()) verdict.then(releaseImage, () => undefined);
  }
}

function releaseImage(verdict: Verdict): void {
  if (verdict.kind === 'accepted') verdict.image.slot.release();
}

function endOfLog(options: ReplayOptions, sequence: bigint, found: number): bigint {
  const { acceptedThrough, table, spec } = options;
  if (sequence > acceptedThrough) return sequence - 1n;
  const key = blobKeyHex(logKey(spec.id, table.rangeOf(sequence).epoch, sequence));
  throw NabuError.of('BLOB_LOST', { key, found, needed: spec.policy.k, volumeId: spec.id, sequence });
}

async function accept(
  options: ReplayOptions,
  sequence: bigint,
  verdict: Extract<Verdict, { kind: 'accepted' }>,
  deadline: Deadline,
): Promise<void> {
  try {
    if (sequence > options.acceptedThrough && !verdict.complete) await complete(options, sequence, verdict, deadline);
    await options.apply(sequence, verdict.image);
  } finally {
    verdict.image.slot.release();
  }
}

/** To full redundancy, so that what we accept is not lost to the next opener for want of the nodes that we could ask. */
async function complete(
  { blobs, spec, table, epoch, onWait }: ReplayOptions,
  sequence: bigint,
  { image, form }: Extract<Verdict, { kind: 'accepted' }>,
  deadline: Deadline,
): Promise<void> {
  const key = logKey(spec.id, table.rangeOf(sequence).epoch, sequence);
  await blobs.put({
    key,
    waiting: (wait) => onWait(key, wait?.nodes),
    policy: form,
    failureDomain: spec.failureDomain,
    maxShardsPerDomain: spec.maxShardsPerDomain,
    data: image.slot.bytes.subarray(image.offset, image.offset + image.length),
    log: { owner: spec.id, epoch, sequence, homeSet: spec.homeSet, homeSetVersion: spec.homeSetVersion },
    deadline,
  });
}

async function decide(options: ReplayOptions, sequence: bigint, deadline: Deadline): Promise<Verdict> {
  const { spec, table, blobs, clock } = options;
  const range = table.rangeOf(sequence);
  const key = logKey(spec.id, range.epoch, sequence);
  const request = {
    blobs,
    policy: spec.policy,
    homeSet: spec.homeSet,
    key,
    askStamp: askStampFor(range.stamp),
    isFenced: options.isFenced,
  };
  let waited = false;
  let silent: readonly NodeId[] = [];
  try {
    for (let delayMs = RETRY_FIRST_MS; ; delayMs = Math.min(RETRY_MOST_MS, delayMs * 2)) {
      const verdict = await tryVerdict({ ...request, deadline });
      if (verdict.kind !== 'open') return verdict;
      deadline.throwIfExpired(); // then their silence is ours
      silent = verdict.evidence.silent;
      if (!waited) {
        waited = true;
        options.logger.warn('replay waits: a log blob is neither readable nor proven unacknowledged', {
          volumeId: spec.id,
          key: blobKeyHex(key),
          sequence,
          shardsFound: verdict.evidence.best?.shards ?? 0,
          silent,
        });
      }
      options.onWait(key, silent);
      await clock.sleep(delayMs, deadline.signal);
    }
  } catch (err) {
    if (!options.deadline.expired || NabuError.is(err, 'FENCED')) throw err;
    throw NabuError.of(
      'VOLUME_OPEN_BLOCKED',
      { volumeId: spec.id, nodes: [...silent], key: blobKeyHex(key), sequence },
      { cause: err },
    );
  } finally {
    if (waited) options.onWait(key, undefined);
  }
}
