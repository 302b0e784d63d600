import { NabuError } from '../../../../common/errors/index.ts';
import type { Clock } from '../../../../common/ports/index.ts';
import {
  type BlobKey,
  compareWriterEpochs,
  formatWriterEpoch,
  hexOf,
  type NodeId,
  type StripeId,
  type VolumeId,
  volumeOf,
  type WriterEpoch,
  ZERO_WRITER_EPOCH,
} from '../../../../engine/blob/index.ts';
import { verifyBlocks } from '../../../../engine/ec/index.ts';
import type { ClusterMap } from '../../../../engine/placement/index.ts';
import {
  ANY_SHARD,
  type CallOptions,
  decodeShardCrcs,
  decodeShardMeta,
  type NodeClient,
  type PutShard,
  SHARD_FLAG,
  type ShardMeta,
  type ShardRead,
  type ShardSelector,
} from '../../../../engine/protocol/index.ts';
import type { Slab } from '../../../../engine/slab/index.ts';
import type { AppendResult, LookupAnswer, OwnerState, OwnerUpdate } from '../../../../engine/store/index.ts';
import type { PayloadRef } from '../../../../engine/transport/index.ts';

export type StoredShard = { readonly meta: ShardMeta; readonly crcs: Uint32Array; readonly bytes: Buffer };

/** A storage node in memory, with the faults that a test asks of it. Speaks NodeClient as one over a connection does. */
export class FakeNode implements NodeClient {
  readonly id: NodeId;
  readonly shards: StoredShard[] = [];
  readonly marks = new Map<string, number>();
  readonly tombstones = new Map<string, bigint>();
  readonly fences = new Map<VolumeId, WriterEpoch>();
  readonly calls = { put: 0, read: 0, lookup: 0, readBytes: 0 };
  readonly #slab: Slab;
  readonly #clock: Clock;
  /** Refuses connections; those there are break. */
  dead = false;
  /** Takes requests and never answers. */
  frozen = false;
  full = false;
  /** Its store was emptied: may not say absent. */
  forgetful = false;
  delayMs = 0;
  /** Between the first and the last byte of a payload. */
  payloadMs = 0;
  #broken = Promise.withResolvers<Error>();

  constructor(id: NodeId, slab: Slab, clock: Clock) {
    this.id = id;
    this.#slab = slab;
    this.#clock = clock;
  }

  get broken(): Promise<Error> {
    return this.#broken.promise;
  }

  kill(): void {
    this.dead = true;
    this.#broken.resolve(this.#unavailable());
  }

  revive(): void {
    this.dead = false;
    this.#broken = Promise.withResolvers<Error>();
  }

  /** The device is replaced by an empty one. */
  wipe(): void {
    this.shards.length = 0;
    this.forgetful = true;
  }

  shardsOf(key: BlobKey): StoredShard[] {
    return this.shards.filter(({ meta }) => Buffer.compare(meta.key, key) === 0);
  }

  /** Bit rot in the first byte of the payload of each shard of the key. */
  corrupt(key: BlobKey): void {
    for (const { bytes } of this.shardsOf(key)) bytes[0] = (bytes[0] ?? 0) ^ 0xff;
  }

  async putShard({ meta: encoded, payload }: PutShard, o: CallOptions): Promise<AppendResult> {
    this.calls.put++;
    const bytes = Buffer.from(Buffer.from(this.#slab.buffer, payload.offset, payload.length));
    const meta = decodeShardMeta(encoded);
    const crcs = decodeShardCrcs(encoded);
    await this.#travel(o);
    if (this.full) throw NabuError.of('DEVICE_FULL', { device: this.id });
    if (verifyBlocks(bytes, 0, bytes.length, crcs) >= 0) {
      throw NabuError.of('SHARD_CORRUPT', { shard: meta.shardIndex, key: hexOf(meta.key), offset: 0 });
    }
    if ((meta.flags & SHARD_FLAG.log) !== 0) this.#checkFence(meta);
    if ((this.tombstones.get(hexOf(meta.key)) ?? 0n) >= meta.stamp) return 'deleted';
    const same = this.shardsOf(meta.key).some(
      (shard) => shard.meta.shardIndex === meta.shardIndex && Buffer.compare(shard.meta.stripeId, meta.stripeId) === 0,
    );
    if (same) return 'exists';
    this.shards.push({
      meta: {
        ...meta,
        key: Buffer.from(meta.key) as Uint8Array as BlobKey,
        stripeId: Buffer.from(meta.stripeId) as Uint8Array as StripeId,
        owner: Buffer.from(meta.owner),
      },
      crcs,
      bytes,
    });
    return 'stored';
  }

  async readShard(select: ShardSelector, into: (length: number) => PayloadRef, o: CallOptions): Promise<ShardRead> {
    this.calls.read++;
    await this.#travel(o);
    const found = this.shardsOf(select.key)
      .filter(({ meta }) => select.shardIndex === ANY_SHARD || meta.shardIndex === select.shardIndex)
      .filter(({ meta }) => select.stripeId === null || Buffer.compare(meta.stripeId, select.stripeId) === 0)
      .at(-1);
    if (found === undefined) return { status: this.forgetful ? 'unknown' : 'absent' };
    const { meta, crcs, bytes } = found;
    const length = select.rangeLength === 0 ? meta.shardLength - select.rangeOffset : select.rangeLength;
    if (select.rangeOffset + length > meta.shardLength)
      throw NabuError.of('OUT_OF_RANGE', { field: 'range', reason: 'is past the shard' });
    const from = select.rangeOffset / 4096;
    const part = crcs.slice(from, from + length / 4096);
    if (verifyBlocks(bytes, select.rangeOffset, length, part) >= 0) return { status: 'corrupt' };
    const payload = into(length);
    this.calls.readBytes += length;
    if (this.payloadMs > 0) await this.#clock.sleep(this.payloadMs);
    Buffer.from(this.#slab.buffer, payload.offset, length).set(
      bytes.subarray(select.rangeOffset, select.rangeOffset + length),
    );
    return { status: 'ok', meta: { ...meta, rangeOffset: select.rangeOffset }, crcs: part, payload };
  }

  async lookup(keys: readonly BlobKey[], _askStamp: bigint, o: CallOptions): Promise<LookupAnswer[]> {
    this.calls.lookup++;
    await this.#travel(o);
    return keys.map((key) => {
      const deletedStamp = this.tombstones.get(hexOf(key)) ?? 0n;
      const shards = this.shardsOf(key).map(({ meta }) => meta);
      if (shards.length > 0) return { state: 'found', shards, deletedStamp };
      return { state: this.forgetful ? 'unknown' : 'absent', shards, deletedStamp };
    });
  }

  async delete(keys: readonly BlobKey[], stamp: bigint, o: CallOptions): Promise<void> {
    await this.#travel(o);
    for (const key of keys) {
      this.tombstones.set(hexOf(key), stamp);
      const kept = this.shards.filter(({ meta }) => Buffer.compare(meta.key, key) !== 0 || meta.stamp > stamp);
      this.shards.splice(0, this.shards.length, ...kept);
    }
  }

  async deleteOwnerRange(owner: VolumeId, _range: object, _stamp: bigint, o: CallOptions): Promise<void> {
    await this.#travel(o);
    const kept = this.shards.filter(({ meta }) => volumeOf(meta.owner) !== owner);
    this.shards.splice(0, this.shards.length, ...kept);
  }

  async setOwner(owner: VolumeId, update: OwnerUpdate, o: CallOptions): Promise<OwnerState> {
    await this.#travel(o);
    const fence = this.fences.get(owner) ?? ZERO_WRITER_EPOCH;
    this.fences.set(owner, compareWriterEpochs(update.fence, fence) > 0 ? update.fence : fence);
    return { fence: this.fences.get(owner) ?? fence, homeSetVersion: 0n, note: new Uint8Array(), noteVersion: 0n };
  }

  async getOwner(_owner: VolumeId, o: CallOptions): Promise<undefined> {
    await this.#travel(o);
    return undefined;
  }

  async listOwners(): ReturnType<NodeClient['listOwners']> {
    throw NabuError.of('UNIMPLEMENTED', { operation: 'listOwners', reason: 'no test asks it' });
  }

  async getMap(): Promise<ClusterMap> {
    throw NabuError.of('UNIMPLEMENTED', { operation: 'getMap', reason: 'no test asks it' });
  }

  async setMap(): Promise<number> {
    throw NabuError.of('UNIMPLEMENTED', { operation: 'setMap', reason: 'no test asks it' });
  }

  async stats(): Promise<Readonly<Record<string, unknown>>> {
    return {};
  }

  async markDegraded(key: BlobKey, stripe: StripeId, missingMask: number, o: CallOptions): Promise<void> {
    await this.#travel(o);
    this.marks.set(`${hexOf(key)}/${hexOf(stripe)}`, missingMask);
  }

  async ping(o: CallOptions): Promise<void> {
    await this.#travel(o);
  }

  async #travel({ deadline, signal }: CallOptions): Promise<void> {
    if (this.dead) throw this.#unavailable();
    const ends = (): Promise<never>[] => [
      this.broken.then((err) => Promise.reject(err)),
      aborted(deadline.signal),
      ...(signal ? [aborted(signal)] : []),
    ];
    if (this.frozen) await Promise.race(ends());
    if (this.delayMs > 0) await Promise.race([this.#clock.sleep(this.delayMs), ...ends()]);
    else await Promise.resolve();
    if (this.dead) throw this.#unavailable();
  }

  #checkFence(meta: ShardMeta): void {
    const owner = volumeOf(meta.owner);
    const fence = this.fences.get(owner) ?? ZERO_WRITER_EPOCH;
    if (compareWriterEpochs(meta.writer, fence) >= 0) return;
    throw NabuError.of('FENCED', {
      volumeId: owner,
      epoch: formatWriterEpoch(meta.writer),
      fence: formatWriterEpoch(fence),
    });
  }

  #unavailable(): NabuError {
    return NabuError.of('UNAVAILABLE', { target: `node ${this.id}`, reason: 'connection refused' });
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
