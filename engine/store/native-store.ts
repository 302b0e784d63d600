import { fromNative, NabuError } from '../../common/errors/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import {
  BLOCK_BYTES,
  type BlobKey,
  formatWriterEpoch,
  ownerOf,
  type StripeId,
  type VolumeId,
  volumeOf,
  type WriterEpoch,
} from '../blob/index.ts';
import { crc32c, MAX_SHARD_BYTES } from '../protocol/index.ts';
import { decodeLookup, lookupRoom } from './lookup-codec.ts';
import { type NativeOwnerState, type NativeShardStore, openNative, RESULTS_PER_CALL, STATUS } from './native.ts';
import { Pending } from './pending.ts';
import type {
  AppendResult,
  DegradedMark,
  LookupAnswer,
  OwnerRange,
  OwnerState,
  OwnerUpdate,
  ShardReadRequest,
  ShardReadResult,
  ShardStore,
  ShardViewRequest,
  ShardViewResult,
  StoreIdentity,
  StoreStats,
} from './shard-store.ts';
import type { StoreOptions } from './store-options.ts';

const MAX_LOOKUP_KEYS = 4096;
const DEFAULT_IN_FLIGHT = 4096;
const DEFAULT_RETENTION_MS = 14 * 24 * 3_600_000;
const META_OWNER_OFFSET = 56;
const META_EPOCH_OFFSET = 72;
const META_LENGTH_OFFSET = 108;
const META_BYTES = 160;

function ownerStateOf(state: NativeOwnerState): OwnerState {
  const { generation, incarnation, homeSetVersion, note, noteVersion } = state;
  return { fence: { generation, incarnation }, homeSetVersion, note, noteVersion };
}

function updateWords(update: OwnerUpdate): BigUint64Array {
  const { fence, homeSetVersion, noteVersion } = update;
  const versioned = noteVersion === undefined ? [0n, 0n] : [1n, noteVersion];
  return BigUint64Array.from([fence.generation, fence.incarnation, homeSetVersion, ...versioned]);
}

function rangeWords(range: OwnerRange, stamp: bigint): BigUint64Array {
  const optional = (value: bigint | undefined): bigint[] => (value === undefined ? [0n, 0n] : [1n, value]);
  const pins = (range.pins ?? []).flatMap((pin) => [pin.fromSequence, pin.toSequence]);
  const epochs = [...optional(range.generation), ...optional(range.incarnation)];
  return BigUint64Array.from([stamp, ...epochs, range.fromSequence, range.toSequence, ...pins]);
}

function statusOf(status: number): number {
  return status;
}

const ABSENT = { status: 'absent' } as const;
const UNKNOWN = { status: 'unknown' } as const;
const CORRUPT = { status: 'corrupt' } as const;

/** The segment store of native/store behind the port. One per device; used from the thread that opened it. */
class NativeStore implements ShardStore {
  readonly view: ShardStore['view'];
  readonly #native: NativeShardStore;
  readonly #clock: Clock;
  readonly #clockMs = new Float64Array(1);
  readonly #results = new Int32Array(3 * RESULTS_PER_CALL);
  readonly #viewOut = new Float64Array(3);
  readonly #viewMeta = Buffer.alloc(META_BYTES + MAX_SHARD_BYTES / 1024);
  readonly #pending: Pending;
  readonly #slab: DataView;
  readonly #device: string;
  readonly #maxInFlight: number;
  #lookupRoom = new Uint8Array(lookupRoom(16));
  #identity: StoreIdentity;
  #lastStats: StoreStats | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: StoreOptions) {
    const { device } = options;
    const maxInFlight = options.maxInFlight ?? DEFAULT_IN_FLIGHT;
    this.#clock = options.clock;
    this.#maxInFlight = maxInFlight;
    this.#clockMs[0] = options.clock.nowMs();
    this.#slab = new DataView(options.slab);
    this.#device = device.driver === 'uring' ? device.path : 'memory';
    // The core counts what is in flight itself; tokens are bounded a little above, for close and its like.
    this.#pending = new Pending(maxInFlight + 64);
    this.#native = openNative(
      options.slab,
      {
        driver: device.driver,
        path: device.driver === 'uring' ? device.path : '',
        sizeBytes: device.sizeBytes,
        populate: device.driver === 'memory' && device.populate === true,
        clusterId: options.clusterId,
        nodeId: options.nodeId,
        segmentBytes: options.segmentBytes ?? 0,
        format: options.format === 'if-blank',
        tombstoneRetentionMs: options.tombstoneRetentionMs ?? DEFAULT_RETENTION_MS,
        maxInFlight,
      },
      this.#clockMs,
      this.#results,
      (count) => this.#settle(count),
    );
    this.#identity = this.#native.identity();
    const memory = this.#native.memory();
    if (memory !== null) this.view = (request, askStamp = 0n) => this.#view(memory, request, askStamp);
  }

  get identity(): StoreIdentity {
    return this.#identity;
  }

  // append and read are what every shard passes through: one promise each, and no async function.
  append(metaOffset: number, payloadOffset: number): Promise<AppendResult> {
    return this.#start(
      (token) => this.#native.append(token, metaOffset, payloadOffset),
      (status) => {
        if (status === STATUS.ok) return 'stored';
        if (status === STATUS.exists) return 'exists';
        if (status === STATUS.deleted) return 'deleted';
        throw this.#appendError(status, metaOffset, payloadOffset);
      },
    );
  }

  async lookup(keys: readonly BlobKey[], askStamp = 0n): Promise<LookupAnswer[]> {
    if (keys.length === 0) return [];
    if (keys.length > MAX_LOOKUP_KEYS) {
      throw NabuError.of('INVALID_ARGUMENT', { field: 'keys', reason: `more than ${MAX_LOOKUP_KEYS}` });
    }
    const packed = new Uint8Array(32 * keys.length);
    keys.forEach((key, i) => {
      packed.set(key, 32 * i);
    });
    for (;;) {
      const used = this.#call(() => this.#native.lookup(packed, askStamp, this.#lookupRoom));
      if (used >= 0) return decodeLookup(this.#lookupRoom.subarray(0, used), keys.length);
      this.#lookupRoom = new Uint8Array(-used);
    }
  }

  read(request: ShardReadRequest, askStamp = 0n): Promise<ShardReadResult> {
    const r = request;
    return this.#start(
      (token) =>
        this.#native.read(
          token,
          r.key,
          r.stripeId,
          r.shardIndex,
          r.rangeOffset,
          r.rangeLength,
          askStamp,
          r.payloadOffset,
          r.payloadCapacity,
          r.metaOutOffset,
        ),
      this.#readResult,
    );
  }

  readonly #readResult = (status: number, payloadLength: number): ShardReadResult => {
    if (status === STATUS.ok) return { status: 'ok', metaLength: META_BYTES + payloadLength / 1024, payloadLength };
    return this.#notRead(status);
  };

  #notRead(status: number): Extract<ShardViewResult, { status: 'absent' | 'unknown' | 'corrupt' }> {
    if (status === STATUS.absent) return ABSENT;
    if (status === STATUS.unknown) return UNKNOWN;
    if (status === STATUS.corrupt) return CORRUPT;
    throw this.#error(status, 'range');
  }

  #view(memory: ArrayBuffer, r: ShardViewRequest, askStamp: bigint): ShardViewResult {
    const { key, stripeId, shardIndex, rangeOffset, rangeLength } = r;
    const room = this.#viewMeta;
    const out = this.#viewOut;
    const status = this.#call(() =>
      this.#native.view(key, stripeId, shardIndex, rangeOffset, rangeLength, askStamp, room, out),
    );
    if (status !== STATUS.ok) return this.#notRead(status);
    const [offset = 0, length = 0, id = 0] = out;
    const slot = { release: () => this.#native.endView(id) };
    const meta = Buffer.from(room.subarray(0, META_BYTES + length / 1024));
    return { status: 'ok', meta, payload: { memory, offset, length, slot } };
  }

  async delete(key: BlobKey, stamp: bigint): Promise<void> {
    await this.#mustRun((token) => this.#native.remove(token, key, stamp));
  }

  async deleteOwnerRange(owner: VolumeId, range: OwnerRange, stamp: bigint): Promise<void> {
    const words = rangeWords(range, stamp);
    await this.#mustRun((token) => this.#native.removeOwnerRange(token, ownerOf(owner), words));
  }

  async setOwner(owner: VolumeId, update: OwnerUpdate): Promise<OwnerState> {
    const words = updateWords(update);
    await this.#mustRun((token) => this.#native.setOwner(token, ownerOf(owner), words, update.note ?? null));
    const state = this.getOwner(owner);
    if (state === undefined) throw this.#error(STATUS.failed, 'owner');
    return state;
  }

  getOwner(owner: VolumeId): OwnerState | undefined {
    const state = this.#call(() => this.#native.getOwner(ownerOf(owner)));
    return state === null ? undefined : ownerStateOf(state);
  }

  listOwners(after: VolumeId | undefined, limit: number): [VolumeId, OwnerState][] {
    const from = after === undefined ? null : ownerOf(after);
    const list = this.#call(() => this.#native.listOwners(from, limit));
    return list.map(([owner, state]) => [volumeOf(owner), ownerStateOf(state)]);
  }

  async setFencesComplete(): Promise<void> {
    await this.#mustRun((token) => this.#native.setFencesComplete(token));
    this.#identity = this.#call(() => this.#native.identity());
  }

  async setCompleteSince(stamp: bigint): Promise<void> {
    await this.#mustRun((token) => this.#native.setCompleteSince(token, stamp));
    this.#identity = this.#call(() => this.#native.identity());
  }

  async markDegraded(key: BlobKey, stripeId: StripeId, missingMask: number): Promise<void> {
    await this.#mustRun((token) => this.#native.markDegraded(token, key, stripeId, missingMask));
  }

  listDegraded(after: Pick<DegradedMark, 'key' | 'stripeId'> | undefined, limit: number): DegradedMark[] {
    const marks = this.#call(() => this.#native.listDegraded(after?.key ?? null, after?.stripeId ?? null, limit));
    return marks.map((mark) => ({
      key: mark.key as BlobKey,
      stripeId: mark.stripeId as StripeId,
      missingMask: mark.missingMask,
    }));
  }

  /** After close: as they were at its end. */
  stats(): StoreStats {
    if (this.#lastStats !== undefined) return this.#lastStats;
    return this.#call(() => this.#native.stats()) as StoreStats;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const stats = this.stats();
    const status = await this.#run((token) => this.#native.close(token));
    this.#lastStats = stats;
    if (status !== STATUS.ok) throw this.#error(status, 'close');
  }

  #settle(count: number): void {
    const results = this.#results;
    for (let i = 0; i < 3 * count; i += 3) {
      this.#pending.settle(results[i] ?? 0, results[i + 1] ?? 0, results[i + 2] ?? 0);
    }
  }

  #call<T>(call: () => T): T {
    try {
      return call();
    } catch (err) {
      throw fromNative(err);
    }
  }

  /**
   * Settles as `ended` says of the operation's status and value. The clock is handed over with each operation: native code has none
   * of its own.
   */
  #start<T>(start: (token: number) => number, ended: (status: number, value: number) => T): Promise<T> {
    this.#clockMs[0] = this.#clock.nowMs();
    return new Promise((resolve, reject) => {
      const settle = (status: number, value: number): void => {
        try {
          resolve(ended(status, value));
        } catch (err) {
          reject(err);
        }
      };
      const token = this.#pending.take();
      let status: number;
      try {
        status = start(token);
      } catch (err) {
        this.#pending.giveBack(token);
        reject(fromNative(err));
        return;
      }
      if (status === STATUS.pending) {
        this.#pending.wait(token, settle);
      } else {
        this.#pending.giveBack(token);
        settle(status, 0);
      }
    });
  }

  #run(start: (token: number) => number): Promise<number> {
    return this.#start(start, statusOf);
  }

  async #mustRun(start: (token: number) => number): Promise<void> {
    const status = await this.#run(start);
    if (status !== STATUS.ok) throw this.#error(status, '');
  }

  #appendError(status: number, metaOffset: number, payloadOffset: number): NabuError {
    if (status === STATUS.checksum) {
      const shard = this.#slab.getUint8(metaOffset + 114);
      const key = Buffer.from(this.#slab.buffer, metaOffset + 8, 32).toString('hex');
      return NabuError.of('SHARD_CORRUPT', { shard, key, offset: this.#firstBadByte(metaOffset, payloadOffset) });
    }
    if (status !== STATUS.fenced) return this.#error(status, 'record');
    const owner = new Uint8Array(this.#slab.buffer, metaOffset + META_OWNER_OFFSET, 16);
    const [generation, incarnation] = this.#call(() => this.#native.fenceOf(owner));
    const epoch: WriterEpoch = {
      generation: this.#slab.getBigUint64(metaOffset + META_EPOCH_OFFSET, true),
      incarnation: this.#slab.getBigUint64(metaOffset + META_EPOCH_OFFSET + 8, true),
    };
    const volumeId = volumeOf(owner);
    const fence = formatWriterEpoch({ generation, incarnation });
    return NabuError.of('FENCED', { volumeId, owner: volumeId, epoch: formatWriterEpoch(epoch), fence });
  }

  /** Where the payload first differs from its checksums; only looked for when native code has refused it. */
  #firstBadByte(metaOffset: number, payloadOffset: number): number {
    const length = this.#slab.getUint32(metaOffset + META_LENGTH_OFFSET, true);
    for (let at = 0; at < length; at += BLOCK_BYTES) {
      const block = new Uint8Array(this.#slab.buffer, payloadOffset + at, BLOCK_BYTES);
      const expected = this.#slab.getUint32(metaOffset + META_BYTES + (4 * at) / BLOCK_BYTES, true);
      if (crc32c(block) !== expected) return at;
    }
    return length;
  }

  #error(status: number, field: string): NabuError {
    const device = this.#device;
    switch (status) {
      case STATUS.full:
        return NabuError.of('DEVICE_FULL', { device });
      case STATUS.readOnly:
        return NabuError.of('DEVICE_READ_ONLY', { device, reason: 'it refuses writes' });
      case STATUS.badArgument: {
        const named = this.#call(() => this.#native.detail());
        return NabuError.of('INVALID_ARGUMENT', { field: named, reason: 'is not what the store takes' });
      }
      case STATUS.outOfRange:
        return NabuError.of('OUT_OF_RANGE', { field, reason: 'lies outside the shard' });
      case STATUS.tooLarge:
        return NabuError.of('MESSAGE_TOO_LARGE', { sizeBytes: 0, limitBytes: this.stats().segmentBytes });
      case STATUS.closed:
        return NabuError.of('UNAVAILABLE', { target: 'the store', reason: 'it is closed' });
      case STATUS.queueFull:
        return NabuError.of('QUEUE_FULL', { queue: 'the store', limit: this.#maxInFlight });
      default:
        return NabuError.of('DEVICE_FAILED', { device, reason: 'a write to it failed' });
    }
  }
}

/**
 * Formats a blank device when that is asked for, opens it and replays what the last run left. Blocks the thread while it
 * replays. Errors: see openNative.
 */
export async function openNativeStore(options: StoreOptions): Promise<ShardStore> {
  return new NativeStore(options);
}
