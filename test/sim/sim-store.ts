import { NabuError } from '../../common/errors/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import {
  BLOCK_BYTES,
  type BlobKey,
  type BlobKeyHex,
  blobKeyFromHex,
  blobKeyHex,
  compareWriterEpochs,
  formatWriterEpoch,
  hexOf,
  maxWriterEpoch,
  type VolumeId,
  volumeOf,
  type WriterEpoch,
  ZERO_WRITER_EPOCH,
} from '../../engine/blob/index.ts';
import { verifyBlocks } from '../../engine/ec/index.ts';
import {
  decodeShardCrcs,
  decodeShardMeta,
  encodeShardMeta,
  SHARD_FLAG,
  shardMetaLength,
} from '../../engine/protocol/index.ts';
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
  StoreIdentity,
  StoreStats,
} from '../../engine/store/index.ts';
import type { SimDisk, SimRecord } from './sim-disk.ts';

export type SimStoreOptions = {
  readonly slab: ArrayBuffer;
  readonly disk: SimDisk;
  readonly nodeId: string;
  readonly clusterId: Uint8Array;
  readonly clock: Clock;
  readonly random: Random;
  /** Longest time from a write to its durability. */
  readonly flushMs: number;
  /** The same for a fence or a note. */
  readonly setOwnerMs: number;
  /** Checks what it reads, as every store should; without, rotten bytes go out and the reader must tell. Default true. */
  readonly verifies?: boolean;
};

const NO_OWNER = '0'.repeat(32);

/**
 * The semantics of the shard store (engine/store/shard-store.ts) over plain maps, with delays between a write and its durability in
 * which a crash can fall: what was on its way is then wholly there or wholly not. Torn tails are the native store's own tests.
 */
export class SimStore implements ShardStore {
  /** May change while it runs. */
  setOwnerMs: number;
  readonly #options: SimStoreOptions;
  readonly #disk: SimDisk;
  /** Fences as they are enforced: raised before they are durable. */
  readonly #fences = new Map<VolumeId, WriterEpoch>();
  readonly #appends = new Map<Promise<AppendResult>, { owner: VolumeId; writer: WriterEpoch }>();
  readonly #pending = new Map<SimRecord, VolumeId | undefined>();
  #crashed = false;

  constructor(options: SimStoreOptions) {
    this.#options = options;
    this.#disk = options.disk;
    this.setOwnerMs = options.setOwnerMs;
    for (const [owner, state] of this.#disk.owners) this.#fences.set(owner, state.fence);
  }

  get identity(): StoreIdentity {
    const { incarnation, createdStamp, completeSince, fencesComplete } = this.#disk;
    const { clusterId, nodeId } = this.#options;
    const deviceId = Buffer.alloc(16);
    deviceId.write(nodeId.slice(0, 8));
    deviceId.writeBigUInt64LE(incarnation, 8);
    return { clusterId, nodeId, deviceId, incarnation, createdStamp, completeSince, fencesComplete };
  }

  /** From now on nothing reaches the disk and nothing is answered. Half of what was on its way is there. */
  crash(): void {
    if (this.#crashed) return;
    this.#crashed = true;
    for (const [record, owner] of this.#pending) if (this.#options.random.float() < 0.5) this.#commit(record, owner);
  }

  async append(metaOffset: number, payloadOffset: number): Promise<AppendResult> {
    this.#alive();
    const record = this.#take(metaOffset, payloadOffset);
    const { meta } = record;
    if (this.#disk.full) throw NabuError.of('DEVICE_FULL', { device: this.#options.nodeId });
    const owner = hexOf(meta.owner) === NO_OWNER ? undefined : volumeOf(meta.owner);
    const isLog = (meta.flags & SHARD_FLAG.log) !== 0 && owner !== undefined;
    if (isLog) {
      if (!this.#disk.fencesComplete) {
        throw NabuError.of('FENCES_INCOMPLETE', { nodeId: this.#options.nodeId, reason: 'it was emptied' });
      }
      const fence = this.#fences.get(owner) ?? ZERO_WRITER_EPOCH;
      if (compareWriterEpochs(meta.writer, fence) < 0) throw fenced(owner, meta.writer, fence);
      if (compareWriterEpochs(meta.writer, fence) > 0) {
        await this.setOwner(owner, { fence: meta.writer, homeSetVersion: meta.homeSetVersion });
        this.#alive();
      }
      const now = this.#fences.get(owner) ?? ZERO_WRITER_EPOCH;
      if (compareWriterEpochs(meta.writer, now) < 0) throw fenced(owner, meta.writer, now);
    }
    const append = this.#store(record, owner);
    if (isLog) this.#appends.set(append, { owner, writer: meta.writer });
    try {
      return await append;
    } finally {
      this.#appends.delete(append);
    }
  }

  async #store(record: SimRecord, owner: VolumeId | undefined): Promise<AppendResult> {
    this.#pending.set(record, owner);
    try {
      await this.#flush();
    } finally {
      this.#pending.delete(record);
    }
    return this.#commit(record, owner);
  }

  #commit(record: SimRecord, owner: VolumeId | undefined): AppendResult {
    const { meta } = record;
    const id = blobKeyHex(meta.key);
    if (this.#isCovered(record, owner)) return 'deleted';
    const isSame = (other: SimRecord): boolean =>
      other.meta.shardIndex === meta.shardIndex && hexOf(other.meta.stripeId) === hexOf(meta.stripeId);
    const same = this.#visible(id).some(isSame);
    const others = (this.#disk.records.get(id) ?? []).filter((other) => !isSame(other));
    if (!same) this.#disk.records.set(id, [...others, record]);
    return same ? 'exists' : 'stored';
  }

  async lookup(keys: readonly BlobKey[], askStamp = 0n): Promise<LookupAnswer[]> {
    await this.#flush();
    return keys.map((key) => {
      const id = blobKeyHex(key);
      const deletedStamp = this.#disk.tombstones.get(id) ?? 0n;
      if (this.#visible(id).length === 0) {
        return { state: this.#mayDeny(id, askStamp) ? 'absent' : 'unknown', shards: [], deletedStamp };
      }
      // Beside a good shard those that are known to be corrupt are named too, as native/store does.
      const shards = (this.#disk.records.get(id) ?? []).map(({ meta }) => meta);
      return { state: 'found', shards, deletedStamp };
    });
  }

  async read(request: ShardReadRequest, askStamp = 0n): Promise<ShardReadResult> {
    await this.#flush();
    const id = blobKeyHex(request.key);
    const record = this.#visible(id).find(
      ({ meta }) =>
        (request.stripeId === null || hexOf(meta.stripeId) === hexOf(request.stripeId)) &&
        (request.shardIndex === 255 || meta.shardIndex === request.shardIndex),
    );
    if (record === undefined) return { status: this.#mayDeny(id, askStamp) ? 'absent' : 'unknown' };
    const { meta, crcs, payload } = record;
    const length = request.rangeLength === 0 ? meta.shardLength - request.rangeOffset : request.rangeLength;
    if (request.rangeOffset + length > meta.shardLength || length > request.payloadCapacity) {
      throw NabuError.of('OUT_OF_RANGE', { field: 'range', reason: `${length} bytes from ${request.rangeOffset}` });
    }
    const slab = new Uint8Array(this.#options.slab);
    const first = request.rangeOffset / BLOCK_BYTES;
    const range = crcs.subarray(first, first + length / BLOCK_BYTES);
    const bytes = payload.subarray(request.rangeOffset, request.rangeOffset + length);
    if (this.#options.verifies !== false && verifyBlocks(bytes, 0, length, range) >= 0) {
      this.#disk.corrupt.add(record);
      return { status: 'corrupt' };
    }
    const head = encodeShardMeta({ ...meta, rangeOffset: request.rangeOffset }, range);
    slab.set(head, request.metaOutOffset);
    slab.set(bytes, request.payloadOffset);
    return { status: 'ok', metaLength: head.length, payloadLength: length };
  }

  async delete(key: BlobKey, stamp: bigint): Promise<void> {
    await this.#flush();
    const id = blobKeyHex(key);
    const before = this.#disk.tombstones.get(id) ?? 0n;
    this.#disk.tombstones.set(id, stamp > before ? stamp : before);
    const left = (this.#disk.records.get(id) ?? []).filter(({ meta }) => meta.stamp > stamp);
    if (left.length === 0) this.#disk.records.delete(id);
    else this.#disk.records.set(id, left);
  }

  async deleteOwnerRange(owner: VolumeId, range: OwnerRange, stamp: bigint): Promise<void> {
    await this.#flush();
    this.#disk.ownerTombstones.push({ owner, range, stamp });
    for (const [id, held] of this.#disk.records) {
      const left = held.filter((record) => !this.#isCovered(record, volumeOf(record.meta.owner)));
      if (left.length === 0) this.#disk.records.delete(id);
      else this.#disk.records.set(id, left);
    }
  }

  async setOwner(owner: VolumeId, update: OwnerUpdate): Promise<OwnerState> {
    this.#alive();
    await this.#options.clock.sleep(this.#options.random.float() * this.setOwnerMs);
    this.#alive();
    this.#fences.set(owner, maxWriterEpoch(this.#fences.get(owner) ?? ZERO_WRITER_EPOCH, update.fence));
    const older = [...this.#appends].filter(
      ([, append]) => append.owner === owner && compareWriterEpochs(append.writer, update.fence) < 0,
    );
    await Promise.allSettled(older.map(([append]) => append));
    await this.#options.clock.sleep(this.#options.random.float() * this.setOwnerMs);
    this.#alive();
    const before = this.#disk.owners.get(owner) ?? {
      fence: ZERO_WRITER_EPOCH,
      homeSetVersion: 0n,
      note: new Uint8Array(0),
      noteVersion: 0n,
    };
    const fence = maxWriterEpoch(before.fence, update.fence);
    const entitled = compareWriterEpochs(update.fence, before.fence) >= 0;
    const newer = update.noteVersion === undefined || update.noteVersion > before.noteVersion;
    const takes = update.note !== undefined && entitled && newer;
    const state: OwnerState = {
      fence,
      homeSetVersion: update.homeSetVersion > before.homeSetVersion ? update.homeSetVersion : before.homeSetVersion,
      note: takes && update.note !== undefined ? Uint8Array.from(update.note) : before.note,
      noteVersion: takes ? (update.noteVersion ?? before.noteVersion + 1n) : before.noteVersion,
    };
    this.#disk.owners.set(owner, state);
    return state;
  }

  getOwner(owner: VolumeId): OwnerState | undefined {
    return this.#disk.owners.get(owner);
  }

  listOwners(after: VolumeId | undefined, limit: number): [VolumeId, OwnerState][] {
    return [...this.#disk.owners]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .filter(([owner]) => after === undefined || owner > after)
      .slice(0, limit);
  }

  async setFencesComplete(): Promise<void> {
    await this.#flush();
    this.#disk.fencesComplete = true;
  }

  async setCompleteSince(stamp: bigint): Promise<void> {
    await this.#flush();
    this.#disk.completeSince = stamp;
  }

  async markDegraded(key: BlobKey, stripe: DegradedMark['stripeId'], missingMask: number): Promise<void> {
    await this.#flush();
    const id = `${blobKeyHex(key)}${hexOf(stripe)}`;
    if (missingMask === 0) this.#disk.degraded.delete(id);
    else this.#disk.degraded.set(id, { key: blobKeyHex(key), stripeId: stripe, missingMask });
  }

  listDegraded(after: Pick<DegradedMark, 'key' | 'stripeId'> | undefined, limit: number): DegradedMark[] {
    const from = after === undefined ? '' : `${blobKeyHex(after.key)}${hexOf(after.stripeId)}`;
    return [...this.#disk.degraded]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .filter(([id]) => id > from)
      .slice(0, limit)
      .map(([, mark]) => ({ ...mark, key: blobKeyFromHex(mark.key) }));
  }

  stats(): StoreStats {
    return {
      state: 'ok',
      capacityBytes: 2 ** 40,
      usedBytes: 0,
      liveBytes: 0,
      freeBytes: 2 ** 40,
      segments: 1,
      freeSegments: 1,
      segmentBytes: 2 ** 40,
      shards: [...this.#disk.records.values()].reduce((sum, held) => sum + held.length, 0),
      tombstones: this.#disk.tombstones.size,
      owners: this.#disk.owners.size,
      degraded: this.#disk.degraded.size,
      counters: {},
    };
  }

  async close(): Promise<void> {
    await this.#flush();
    this.#crashed = true;
  }

  #alive(): void {
    if (this.#crashed)
      throw NabuError.of('UNAVAILABLE', { target: this.#options.nodeId, reason: 'the store is closed' });
  }

  async #flush(): Promise<void> {
    this.#alive();
    await this.#options.clock.sleep(this.#options.random.float() * this.#options.flushMs);
    this.#alive();
  }

  #take(metaOffset: number, payloadOffset: number): SimRecord {
    const slab = this.#options.slab;
    const shardLength = Buffer.from(slab, metaOffset, 160).readUInt32LE(108);
    const head = Buffer.from(Buffer.from(slab, metaOffset, shardMetaLength(shardLength)));
    const meta = decodeShardMeta(head);
    return {
      meta,
      crcs: decodeShardCrcs(head),
      payload: Uint8Array.from(new Uint8Array(slab, payloadOffset, shardLength)),
    };
  }

  #visible(id: BlobKeyHex): readonly SimRecord[] {
    return (this.#disk.records.get(id) ?? []).filter((record) => !this.#disk.corrupt.has(record));
  }

  /** Not when something of the blob was here and is known to be corrupt. */
  #mayDeny(id: BlobKeyHex, askStamp: bigint): boolean {
    return this.#disk.completeSince <= askStamp && !this.#disk.records.has(id);
  }

  #isCovered({ meta }: SimRecord, owner: VolumeId | undefined): boolean {
    if (meta.stamp <= (this.#disk.tombstones.get(blobKeyHex(meta.key)) ?? -1n)) return true;
    return this.#disk.ownerTombstones.some(
      ({ owner: dead, range, stamp }) =>
        dead === owner &&
        meta.stamp <= stamp &&
        meta.sequence >= range.fromSequence &&
        meta.sequence <= range.toSequence &&
        (range.generation === undefined || range.generation === meta.writer.generation) &&
        (range.incarnation === undefined || range.incarnation === meta.writer.incarnation),
    );
  }
}

function fenced(volumeId: VolumeId, epoch: WriterEpoch, fence: WriterEpoch): NabuError {
  return NabuError.of('FENCED', { owner: volumeId, epoch: formatWriterEpoch(epoch), fence: formatWriterEpoch(fence) });
}
