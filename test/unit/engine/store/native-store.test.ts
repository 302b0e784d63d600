import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, it } from 'mocha';
import { type ErrorCode, NabuError } from '../../../../common/errors/index.ts';
import { realClock as clock } from '../../../../common/ports/index.ts';
import { blobKey, ownerOf, type StripeId, stripeId, type VolumeId, volumeId } from '../../../../engine/blob/ids.ts';
import { crc32c } from '../../../../engine/protocol/crc32c.ts';
import {
  decodeShardMeta,
  encodeShardMeta,
  SHARD_FLAG,
  SHARD_KIND,
  type ShardMeta,
} from '../../../../engine/protocol/shard-meta.ts';
import { Slab } from '../../../../engine/slab/index.ts';
import {
  openNativeStore,
  type ShardStore,
  type StoreDevice,
  type StoreOptions,
} from '../../../../engine/store/index.ts';

const BLOCK = 4096;
const MIB = 1 << 20;
const CLUSTER = new Uint8Array(16).fill(7);
const VOLUME: VolumeId = volumeId('00112233445566778899aabbccddeeff');

const ZERO = { fence: { generation: 0n, incarnation: 0n }, homeSetVersion: 0n };
const keyOf = (n: number) => blobKey(new Uint8Array(32).fill(n));
const stripeOf = (n: number): StripeId => stripeId(new Uint8Array(16).fill(n));

/** Slab layout of these tests: payloads from 0, descriptors from 8 MiB, what is read from 12 MiB. */
const META_AT = 8 * MIB;
const READ_AT = 12 * MIB;
const READ_META_AT = 15 * MIB;

function shardOf(slab: ArrayBuffer, at: number, blocks: number, fields: Partial<ShardMeta>): { meta: number } {
  const payload = new Uint8Array(slab, at, blocks * BLOCK);
  for (let i = 0; i < payload.length; i += 1) payload[i] = (i * 7 + at + (i >> 8)) & 255;
  const crcs = Uint32Array.from({ length: blocks }, (_, i) => crc32c(payload.subarray(i * BLOCK, (i + 1) * BLOCK)));
  const meta: ShardMeta = {
    flags: 0,
    key: keyOf(1),
    stripeId: stripeOf(1),
    owner: new Uint8Array(16),
    writer: { generation: 0n, incarnation: 0n },
    sequence: 0n,
    stamp: 1000n,
    blobLength: 4 * blocks * BLOCK,
    shardLength: blocks * BLOCK,
    k: 4,
    m: 2,
    shardIndex: 0,
    kind: SHARD_KIND.shard,
    homeSetVersion: 1n,
    mapEpoch: 1,
    missingMask: 0,
    rangeOffset: 0,
    ...fields,
  };
  const metaAt = META_AT + at / 4;
  new Uint8Array(slab).set(encodeShardMeta(meta, crcs), metaAt);
  return { meta: metaAt };
}

const isCode =
  (...codes: ErrorCode[]) =>
  (err: unknown): boolean =>
    NabuError.is(err, ...codes);

for (const driver of ['memory', 'uring'] as const) {
  describe(`the native shard store on a ${driver} device`, () => {
    const { buffer: slab } = Slab.create({ sizeBytes: 16 * MIB, hugePages: 'no' });
    let folder = '';
    let store: ShardStore | undefined;

    const options = (more: Partial<StoreOptions> = {}): StoreOptions => {
      const sizeBytes = 64 * MIB;
      const device: StoreDevice =
        driver === 'memory' ? { driver, sizeBytes } : { driver, path: path.join(folder, 'device.img'), sizeBytes };
      return { slab, device, clusterId: CLUSTER, nodeId: 'node-1', format: 'if-blank', clock, ...more };
    };
    const open = async (more: Partial<StoreOptions> = {}): Promise<ShardStore> => {
      store = await openNativeStore(options(more));
      return store;
    };
    const selection = (n: number) => ({ key: keyOf(n), stripeId: null, shardIndex: 255 });
    const view = (s: ShardStore, n: number, rangeOffset = 0, rangeLength = 0) => {
      const shown = s.view?.({ ...selection(n), rangeOffset, rangeLength });
      return shown?.status === 'ok' ? { meta: shown.meta, ...shown.payload } : undefined;
    };
    const read = (s: ShardStore, n: number, rangeOffset = 0, rangeLength = 0) =>
      s.read({
        ...selection(n),
        rangeOffset,
        rangeLength,
        payloadOffset: READ_AT,
        payloadCapacity: 2 * MIB,
        metaOutOffset: READ_META_AT,
      });

    before(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'nabu-store-'));
    });
    afterEach(async () => {
      await store?.close();
      store = undefined;
      await rm(path.join(folder, 'device.img'), { force: true });
    });
    after(() => rm(folder, { recursive: true, force: true }));

    it('stores a shard once and reads it back, whole and in ranges', async () => {
      const s = await open();
      const { meta } = shardOf(slab, 0, 16, {});
      assert.equal(await s.append(meta, 0), 'stored');
      assert.equal(await s.append(meta, 0), 'exists');
      assert.deepEqual(await read(s, 1), { status: 'ok', metaLength: 160 + 64, payloadLength: 16 * BLOCK });
      assert.deepEqual(Buffer.from(slab, READ_AT, 16 * BLOCK), Buffer.from(slab, 0, 16 * BLOCK));
      assert.deepEqual(await read(s, 1, 2 * BLOCK, BLOCK), { status: 'ok', metaLength: 164, payloadLength: BLOCK });
      assert.deepEqual(Buffer.from(slab, READ_AT, BLOCK), Buffer.from(slab, 2 * BLOCK, BLOCK));
      const back = decodeShardMeta(new Uint8Array(slab, READ_META_AT, 164));
      assert.equal(back.rangeOffset, 2 * BLOCK);
      assert.deepEqual(Buffer.from(back.key), Buffer.from(keyOf(1)));
    });

    it('answers found, absent and unknown by what it may know', async () => {
      const s = await open();
      const { meta } = shardOf(slab, 0, 1, { stamp: 5n });
      await s.append(meta, 0);
      const [held, missing] = await s.lookup([keyOf(1), keyOf(2)]);
      assert.equal(held?.state, 'found');
      assert.equal(held?.shards[0]?.shardLength, BLOCK);
      assert.equal(held?.shards[0]?.stamp, 5n);
      assert.equal(missing?.state, 'unknown', 'it may have been written before this store was made');
      const [younger] = await s.lookup([keyOf(2)], s.identity.createdStamp);
      assert.equal(younger?.state, 'absent');
      await s.setCompleteSince(0n);
      assert.equal(s.identity.completeSince, 0n);
      assert.equal((await s.lookup([keyOf(2)]))[0]?.state, 'absent');
    });

    it('refuses a payload that does not match its checksums', async () => {
      const s = await open();
      const { meta } = shardOf(slab, 0, 4, {});
      new Uint8Array(slab).set([0, 1, 2, 3, 4, 5, 6, 7], 3 * BLOCK);
      await assert.rejects(s.append(meta, 0), (err) => {
        assert.ok(NabuError.is(err, 'SHARD_CORRUPT'));
        assert.equal(err.fields.offset, 3 * BLOCK);
        return true;
      });
      assert.deepEqual(await read(s, 1), { status: 'unknown' });
    });

    it('keeps tombstones: what is older stays deleted', async () => {
      const s = await open();
      const { meta } = shardOf(slab, 0, 1, { stamp: 10n });
      await s.append(meta, 0);
      await s.delete(keyOf(1), 10n);
      const [answer] = await s.lookup([keyOf(1)], s.identity.createdStamp);
      assert.deepEqual([answer?.state, answer?.deletedStamp], ['absent', 10n]);
      assert.equal(await s.append(meta, 0), 'deleted');
      const younger = shardOf(slab, 0, 1, { stamp: 11n });
      assert.equal(await s.append(younger.meta, 0), 'stored');
    });

    it('fences log blobs of lower writer epochs and names the fence', async () => {
      const s = await open();
      const log = (generation: bigint, key: number, at: number) =>
        shardOf(slab, at, 1, {
          flags: SHARD_FLAG.log,
          key: keyOf(key),
          owner: ownerOf(VOLUME),
          writer: { generation, incarnation: 1n },
          sequence: BigInt(key),
        });
      assert.equal(await s.append(log(2n, 1, 0).meta, 0), 'stored');
      assert.deepEqual(s.getOwner(VOLUME)?.fence, { generation: 2n, incarnation: 1n }, 'an append raises the fence');
      const note = new Uint8Array([1, 2, 3]);
      const state = await s.setOwner(VOLUME, { fence: { generation: 3n, incarnation: 0n }, homeSetVersion: 4n, note });
      assert.deepEqual(state.fence, { generation: 3n, incarnation: 0n });
      assert.deepEqual(Buffer.from(state.note), Buffer.from(note));
      await assert.rejects(s.append(log(2n, 2, BLOCK).meta, BLOCK), (err) => {
        assert.ok(NabuError.is(err, 'FENCED'));
        assert.equal(err.fields.fence, '3.0');
        return true;
      });
      const lower = await s.setOwner(VOLUME, { fence: { generation: 1n, incarnation: 0n }, homeSetVersion: 1n });
      assert.deepEqual([lower.fence.generation, lower.homeSetVersion], [3n, 4n], 'neither goes down');
      assert.deepEqual(
        s.listOwners(undefined, 10).map(([owner]) => owner),
        [VOLUME],
      );
      await s.deleteOwnerRange(VOLUME, { fromSequence: 0n, toSequence: (1n << 64n) - 1n }, 1n << 60n);
      assert.notEqual((await s.lookup([keyOf(1)]))[0]?.state, 'found');
    });

    it('lists degraded stripes until they are cleared', async () => {
      const s = await open();
      await s.markDegraded(keyOf(1), stripeOf(1), 5);
      await s.markDegraded(keyOf(2), stripeOf(1), 6);
      const all = s.listDegraded(undefined, 10);
      assert.deepEqual(all.map((mark) => mark.missingMask).sort(), [5, 6]);
      assert.deepEqual(s.listDegraded(all[0], 10), all.slice(1));
      await s.markDegraded(keyOf(1), stripeOf(1), 0);
      assert.equal(s.stats().degraded, 1);
    });

    it('says what is wrong with bad input and changes nothing', async () => {
      const s = await open();
      const { meta } = shardOf(slab, 0, 1, {});
      await assert.rejects(s.append(meta, 1), isCode('INVALID_ARGUMENT'));
      await assert.rejects(s.append(-1, 0), isCode('INVALID_ARGUMENT'));
      await assert.rejects(s.append(slab.byteLength, 0), isCode('INVALID_ARGUMENT'));
      await assert.rejects(s.append(meta, slab.byteLength - 1), isCode('INVALID_ARGUMENT'));
      await assert.rejects(s.append(META_AT + 4 * MIB - 8, 0), isCode('INVALID_ARGUMENT'));
      assert.equal(s.stats().shards, 0);
      await s.append(meta, 0);
      await assert.rejects(read(s, 1, BLOCK, 0), isCode('OUT_OF_RANGE'));
      await assert.rejects(read(s, 1, 1, 0), isCode('INVALID_ARGUMENT'));
      await assert.rejects(s.setOwner(VOLUME, { ...ZERO, note: new Uint8Array(3073) }), isCode('INVALID_ARGUMENT'));
    });

    it('refuses more than its bound of operations in flight', async () => {
      const s = await open({ maxInFlight: 8 });
      const shards = Array.from({ length: 20 }, (_, i) =>
        shardOf(slab, i * BLOCK, 1, { key: keyOf(i), stripeId: stripeOf(i) }),
      );
      const refusedOf = async (operations: readonly Promise<unknown>[]): Promise<number> => {
        const refused = (await Promise.allSettled(operations)).filter((end) => end.status === 'rejected');
        assert.ok(refused.every((end) => NabuError.is(end.reason, 'QUEUE_FULL')));
        return refused.length;
      };
      const appends = shards.map(({ meta }, i) => s.append(meta, i * BLOCK));
      assert.equal(await refusedOf(appends), driver === 'memory' ? 0 : 12); // memory is written when it is asked to be
      assert.equal(await refusedOf(shards.map(() => read(s, 1))), 12);
      assert.equal(await refusedOf(shards.map((_, i) => s.delete(keyOf(i), 2000n))), 12);
      await s.append(shards[19]?.meta ?? 0, 19 * BLOCK);
      if (driver === 'memory') {
        const views = shards.slice(0, 8).map(() => view(s, 19));
        assert.throws(() => view(s, 19), isCode('QUEUE_FULL'));
        await assert.rejects(read(s, 19), isCode('QUEUE_FULL'));
        for (const shown of views) shown?.slot.release();
      }
      assert.equal((await read(s, 19)).status, 'ok');
    });

    it('shows what it holds in place, where the device is memory', async () => {
      const s = await open();
      const { meta } = shardOf(slab, 0, 4, {});
      await s.append(meta, 0);
      if (driver === 'uring') {
        assert.equal(s.view, undefined);
        return;
      }
      const shown = view(s, 1, BLOCK, 2 * BLOCK);
      assert.ok(shown !== undefined);
      const { memory, offset, length, slot, meta: told } = shown;
      const expected = Buffer.from(slab, BLOCK, 2 * BLOCK);
      assert.ok(Buffer.from(memory, offset, length).equals(expected));
      assert.equal(decodeShardMeta(told).rangeOffset, BLOCK);
      assert.equal(told.length, 160 + 2 * 4);
      assert.equal(s.view?.({ ...selection(2), rangeOffset: 0, rangeLength: 0 }).status, 'unknown');
      assert.throws(() => view(s, 1, 4 * BLOCK), isCode('OUT_OF_RANGE'));
      assert.throws(() => view(s, 1, 1), isCode('INVALID_ARGUMENT'));
      const closed = s.close();
      assert.throws(() => view(s, 1), isCode('UNAVAILABLE'));
      slot.release();
      await closed;
      assert.ok(Buffer.from(memory, offset, length).equals(expected));
    });

    it('settles what is in flight when it is closed, and refuses what comes later', async () => {
      const s = await open();
      const shards = Array.from({ length: 64 }, (_, i) => shardOf(slab, i * BLOCK, 1, { key: keyOf(i) }));
      const appends = shards.map(({ meta }, i) => s.append(meta, i * BLOCK));
      const closed = s.close();
      assert.equal(s.close(), closed);
      assert.deepEqual(new Set(await Promise.all(appends)), new Set(['stored']));
      await closed;
      await assert.rejects(s.append(shards[0]?.meta ?? 0, 0), isCode('UNAVAILABLE'));
      assert.throws(() => s.getOwner(VOLUME), isCode('UNAVAILABLE'));
    });

    if (driver === 'memory') return;

    it('finds everything again after a clean restart, without replaying', async () => {
      const first = await open();
      const { meta } = shardOf(slab, 0, 16, {});
      await first.append(meta, 0);
      await first.setOwner(VOLUME, { fence: { generation: 9n, incarnation: 9n }, homeSetVersion: 1n });
      await first.setFencesComplete();
      await first.close();
      const again = await open({ format: 'require-existing' });
      assert.equal((await read(again, 1)).status, 'ok');
      assert.deepEqual(again.getOwner(VOLUME)?.fence, { generation: 9n, incarnation: 9n });
      assert.deepEqual(again.identity, { ...first.identity });
      assert.equal(again.identity.fencesComplete, true);
      assert.equal(again.stats().counters.rebuiltRecords, 0);
    });

    it('serves neither a foreign nor a blank device nor one that is open elsewhere', async () => {
      await assert.rejects(openNativeStore(options({ format: 'require-existing' })), isCode('DEVICE_FAILED'));
      const s = await open();
      await assert.rejects(openNativeStore(options()), isCode('FAILED_PRECONDITION'));
      await s.close();
      await assert.rejects(openNativeStore(options({ nodeId: 'node-2' })), isCode('DEVICE_FOREIGN'));
      const clusterId = new Uint8Array(16).fill(8);
      await assert.rejects(openNativeStore(options({ clusterId })), isCode('DEVICE_FOREIGN'));
      await writeFile(path.join(folder, 'device.img'), Buffer.alloc(64 * MIB, 'x'));
      await assert.rejects(openNativeStore(options()), isCode('DEVICE_FOREIGN'));
    });
  });
}
