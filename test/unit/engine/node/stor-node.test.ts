import assert from 'node:assert/strict';
import { NabuError } from '../../../../common/errors/index.ts';
import { ownerOf, type StripeId, volumeId } from '../../../../engine/blob/index.ts';
import { verifyBlocks } from '../../../../engine/ec/index.ts';
import { ANY_SHARD, SHARD_FLAG } from '../../../../engine/protocol/index.ts';
import type { Slot } from '../../../../engine/slab/index.ts';
import { payloadOf } from '../../../../engine/transport/index.ts';
import { keyOf, MEMORY_CLUSTER, MemoryNode, mapOf, shardOf } from '../../../support/memory-node.ts';

const OWNER = volumeId('0f'.repeat(16));
const ANY = { stripeId: null, shardIndex: ANY_SHARD, rangeOffset: 0, rangeLength: 0 };
const code =
  (name: string) =>
  (err: unknown): boolean =>
    NabuError.is(err) && err.code === name;

describe('a storage node', () => {
  let node: MemoryNode;
  const restart = async (options: Parameters<typeof MemoryNode.start>[0]): Promise<void> => {
    await node[Symbol.asyncDispose]();
    node = await MemoryNode.start(options);
  };
  beforeEach(async () => {
    node = await MemoryNode.start();
  });
  afterEach(async () => {
    await node[Symbol.asyncDispose]();
    assert.equal(node.slab.slots, 0, 'slots left on the node');
    assert.equal(node.clientSlab.slots, 0, 'slots left on the client');
  });

  const put = async (n: number, length: number, fields: Parameters<typeof shardOf>[3] = {}, mapEpoch = 0) => {
    const { shard, slot } = shardOf(node.clientSlab, n, length, fields);
    try {
      return await node.client.putShard(shard, { ...node.options, mapEpoch });
    } finally {
      slot.release();
    }
  };
  const logShard = (sequence: bigint, generation: bigint) => ({
    flags: SHARD_FLAG.log,
    owner: ownerOf(OWNER),
    writer: { generation, incarnation: 1n },
    sequence,
  });

  it('keeps a shard and gives it back with checksums that fit', async () => {
    assert.equal(await put(1, 300_000), 'stored');
    assert.equal(await put(1, 300_000), 'exists');
    let slot: Slot | undefined;
    const read = await node.client.readShard(
      { key: keyOf(1), ...ANY },
      (length) => {
        slot = node.clientSlab.alloc(length);
        return payloadOf(slot);
      },
      node.options,
    );
    assert(read.status === 'ok' && slot !== undefined);
    assert.equal(read.meta.blobLength, 300_000);
    assert.equal(read.payload.length, 303_104);
    assert.equal(verifyBlocks(node.clientSlab.buffer, slot.offset, read.payload.length, read.crcs), -1);
    assert.equal(slot.bytes[299_999], (299_999 * 7 + 1) & 0xff);
    slot.release();
  });

  it('reads a range of blocks with the checksums of that range', async () => {
    await put(2, 65_536);
    const slot = node.clientSlab.alloc(8192);
    const range = { rangeOffset: 16_384, rangeLength: 8192 };
    const read = await node.client.readShard({ key: keyOf(2), ...ANY, ...range }, () => payloadOf(slot), node.options);
    assert(read.status === 'ok');
    assert.equal(read.meta.rangeOffset, 16_384);
    assert.equal(verifyBlocks(node.clientSlab.buffer, slot.offset, 8192, read.crcs), -1);
    assert.equal(slot.bytes[0], (16_384 * 7 + 2) & 0xff);
    slot.release();
    const past = { rangeOffset: 65_536, rangeLength: 0 };
    const nowhere = () => assert.fail('no payload is due');
    await assert.rejects(
      node.client.readShard({ key: keyOf(2), ...ANY, ...past }, nowhere, node.options),
      code('OUT_OF_RANGE'),
    );
  });

  it('says absent, unknown and found apart', async () => {
    await put(3, 100);
    const nowhere = () => assert.fail('no payload is due');
    const gone = await node.client.readShard({ key: keyOf(4), ...ANY }, nowhere, node.options);
    assert.equal(gone.status, 'absent');
    const [found, absent] = await node.client.lookup([keyOf(3), keyOf(4)], 0n, node.options);
    assert.equal(found?.state, 'found');
    assert.equal(found?.shards[0]?.blobLength, 100);
    assert.equal(absent?.state, 'absent');
    await restart({ genesis: false });
    const [unknown] = await node.client.lookup([keyOf(4)], 0n, node.options);
    assert.equal(unknown?.state, 'unknown');
    assert.equal((await node.client.readShard({ key: keyOf(4), ...ANY }, nowhere, node.options)).status, 'unknown');
  });

  it('deletes with a stamp, and refuses what is older', async () => {
    await put(5, 100, { stamp: 50n });
    await node.client.delete([keyOf(5)], 60n, node.options);
    const [answer] = await node.client.lookup([keyOf(5)], 0n, node.options);
    assert.equal(answer?.state, 'absent');
    assert.equal(answer?.deletedStamp, 60n);
    assert.equal(await put(5, 100, { stamp: 55n }), 'deleted');
    assert.equal(await put(5, 100, { stamp: 70n }), 'stored');
  });

  it('refuses a shard whose payload does not match its checksums, and keeps nothing of it', async () => {
    const { shard, slot } = shardOf(node.clientSlab, 6, 8192);
    slot.bytes[5000] = (slot.bytes[5000] ?? 0) ^ 1;
    await assert.rejects(node.client.putShard(shard, node.options), code('SHARD_CORRUPT'));
    slot.release();
    assert.equal((await node.client.lookup([keyOf(6)], 0n, node.options))[0]?.state, 'absent');
  });

  it('refuses a descriptor that is not of the payload beside it', async () => {
    const { shard, slot } = shardOf(node.clientSlab, 7, 8192);
    const half = { meta: shard.meta, payload: payloadOf(slot, 0, 4096) };
    await assert.rejects(node.client.putShard(half, node.options), code('INVALID_ARGUMENT'));
    await assert.rejects(
      node.client.putShard({ ...shard, meta: shard.meta.subarray(0, 100) }, node.options),
      code('PROTOCOL_ERROR'),
    );
    slot.release();
  });

  it('fences: refuses log blobs below the fence of their volume, raises it for higher ones', async () => {
    assert.equal(await put(8, 100, logShard(1n, 5n)), 'stored');
    const fence = { generation: 7n, incarnation: 0n };
    const state = await node.client.setOwner(
      OWNER,
      { fence, homeSetVersion: 2n, note: Buffer.from('note') },
      node.options,
    );
    assert.deepEqual(state.fence, fence);
    await assert.rejects(put(9, 100, logShard(2n, 6n)), code('FENCED'));
    assert.equal(await put(10, 100, logShard(2n, 9n)), 'stored');
    await assert.rejects(put(11, 100, logShard(3n, 8n)), code('FENCED'));
    const kept = await node.client.getOwner(OWNER, node.options);
    assert.deepEqual(kept?.fence, { generation: 9n, incarnation: 1n });
    assert.equal(Buffer.from(kept?.note ?? []).toString(), 'note');
    const page = await node.client.listOwners(undefined, 10, node.options);
    assert.equal(page.fencesComplete, true);
    assert.deepEqual(
      page.owners.map(([owner]) => owner),
      [OWNER],
    );
    assert.equal(await node.client.getOwner(volumeId('ee'.repeat(16)), node.options), undefined);
  });

  it('drops a range of a volume by an owner tombstone', async () => {
    for (const sequence of [1n, 2n, 3n])
      await put(20 + Number(sequence), 100, { ...logShard(sequence, 1n), stamp: 10n });
    const range = { fromSequence: 2n, toSequence: 3n };
    await node.client.deleteOwnerRange(OWNER, range, 20n, node.options);
    const answers = await node.client.lookup([keyOf(21), keyOf(22), keyOf(23)], 0n, node.options);
    assert.deepEqual(
      answers.map(({ state }) => state),
      ['found', 'absent', 'absent'],
    );
  });

  it('takes no log blobs before its fences are complete, says why, and serves everything else', async () => {
    await restart({ genesis: false, fences: () => ({ reason: '1 of 4 peers' }) });
    await assert.rejects(put(30, 100, logShard(1n, 1n)), (err) => {
      assert(NabuError.is(err, 'FENCES_INCOMPLETE'));
      assert(err.retryable);
      return /1 of 4 peers/.test(err.message);
    });
    assert.equal(await put(31, 100), 'stored');
    assert.equal((await node.client.listOwners(undefined, 1, node.options)).fencesComplete, false);
    await node.store.setFencesComplete();
    assert.equal(await put(30, 100, logShard(1n, 1n)), 'stored');
  });

  it('serves a sender with an older map, tells it the newer epoch, and refuses a hopeless one', async () => {
    await restart({ map: mapOf(100, ['node-1']) });
    assert.equal(await put(40, 100, {}, 99), 'stored');
    await assert.rejects(put(41, 100, {}, 3), code('MAP_STALE'));
    assert.equal((await node.client.getMap(node.options)).epoch, 100);
    let hinted = 0;
    node.map.onHint((epoch) => {
      hinted = epoch;
    });
    assert.equal(await put(42, 100, {}, 101), 'stored');
    assert.equal(hinted, 101);
  });

  it('adopts a newer map of its own cluster and no other', async () => {
    assert.equal(await node.client.setMap(mapOf(7, ['node-1', 'node-2']), node.options), 7);
    assert.equal(await node.client.setMap(mapOf(6, ['node-1']), node.options), 7);
    assert.equal(node.map.current().nodes.length, 2);
    const foreign = { ...mapOf(9, ['node-1']), clusterId: 'ff'.repeat(16) };
    await assert.rejects(node.client.setMap(foreign, node.options), code('PERMISSION_DENIED'));
    await assert.rejects(
      node.client.setMap({ ...mapOf(9, []), epoch: -1 as never }, node.options),
      code('INVALID_ARGUMENT'),
    );
  });

  it('counts what it does', async () => {
    await put(50, 100);
    await assert.rejects(put(51, 100, { stripeId: new Uint8Array(16) as StripeId, kind: 9 as never }));
    await node.client.ping(node.options);
    await node.client.markDegraded(keyOf(50), new Uint8Array(16) as StripeId, 2, node.options);
    const stats = JSON.parse(JSON.stringify(await node.client.stats(node.options)));
    assert.equal(stats.clusterId, MEMORY_CLUSTER);
    assert.equal(stats.ops.putShard.count, 2);
    assert.equal(stats.ops.putShard.errors, 1);
    assert.equal(stats.ops.ping.count, 1);
    assert.equal(stats.store.shards, 1);
    assert.equal(stats.store.degraded, 1);
    assert.equal(stats.fences.complete, true);
  });

  it('works on a bounded number of requests at once', async () => {
    await restart({ limits: { maxRunning: 1, maxWaiting: 2 } });
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => node.client.delete([keyOf(60 + i)], 1n, node.options)),
    );
    const refused = results.filter((result) => result.status === 'rejected');
    assert(refused.length > 0);
    assert(refused.every(({ reason }) => code('QUEUE_FULL')(reason)));
    assert(results.some(({ status }) => status === 'fulfilled'));
    assert.equal(await put(90, 100), 'stored');
  });

  it('refuses operations it does not know', async () => {
    const reply = await node.node.handle({
      op: 77,
      meta: Buffer.alloc(0),
      mapEpoch: 0,
      deadline: node.deadline,
      peer: node.node.hello,
    });
    assert.equal(reply.status, 1);
    assert.match(Buffer.from(reply.meta ?? []).toString(), /UNIMPLEMENTED/);
  });
});
