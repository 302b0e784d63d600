import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { type BlobKey, blobKey, contentKey, parsePolicy } from '../../../../engine/blob/index.ts';
import { sampleMap, sampleNodes } from '../placement/sample-map.ts';
import { bytesOf, combinations, EC, eachOnSixNodes, keyOf, take } from './client-bench.ts';

describe('blob client with all nodes there', () => {
  const on = eachOnSixNodes();

  it('puts one shard on each of six nodes and reads the bytes back, whatever the length', async () => {
    for (const length of [0, 1, 4095, 4096, 4097, 16384, 100_000, 1 << 20]) {
      const data = bytesOf(length, length);
      const result = await on.bench.put('content', data);
      assert.deepEqual(Buffer.from(result.key), Buffer.from(contentKey(data)));
      assert.equal(new Set(result.nodes).size, 6);
      assert.equal(result.degraded, false);
      assert.deepEqual(take(await on.bench.get(result.key, { blobLength: length })), data);
      assert.deepEqual(take(await on.bench.get(result.key)), data, 'with the length unknown');
    }
  });

  it('reads only the blocks that a range needs', async () => {
    const data = bytesOf(64 * 1024);
    const { key } = await on.bench.put('content', data);
    const bytesBefore = on.bench.cluster.all().reduce((sum, node) => sum + node.calls.readBytes, 0);
    const result = await on.bench.get(key, { blobLength: data.length, range: { offset: 5000, length: 100 } });
    assert.deepEqual(take(result), data.subarray(5000, 5100));
    assert.equal(on.bench.cluster.all().reduce((sum, node) => sum + node.calls.readBytes, 0) - bytesBefore, 4096);
  });

  it('reads any range of any blob, with or without losses', async () => {
    const length = 70_001;
    const data = bytesOf(length);
    const result = await on.bench.put('content', data);
    const range = fc
      .tuple(fc.nat(length), fc.nat(length))
      .map(([a, b]) => ({ offset: Math.min(a, b), length: Math.abs(a - b) }));
    await fc.assert(
      fc.asyncProperty(range, fc.uniqueArray(fc.nat(5), { maxLength: 2 }), async (wanted, rotten) => {
        const saved = rotten.map((shard) => on.bench.owner(result, shard).shards.splice(0));
        try {
          const got = take(await on.bench.get(result.key, { blobLength: length, range: wanted }));
          assert.deepEqual(got, data.subarray(wanted.offset, wanted.offset + wanted.length));
        } finally {
          rotten.forEach((shard, at) => {
            on.bench.owner(result, shard).shards.push(...(saved[at] ?? []));
          });
        }
      }),
      { numRuns: 200 },
    );
  });

  it('reads into memory that the caller gives, and refuses a range that is not there or does not fit', async () => {
    const data = bytesOf(40_000);
    const { key } = await on.bench.put('content', data);
    const slot = on.bench.cluster.slab.alloc(64 * 1024);
    const result = await on.bench.get(key, {
      blobLength: 40_000,
      into: { slot, offset: 8192 },
      range: { offset: 20_000, length: 10_000 },
    });
    assert.equal(result.slot, slot);
    assert.deepEqual(
      Buffer.from(slot.bytes.subarray(result.offset, result.offset + 10_000)),
      data.subarray(20_000, 30_000),
    );
    await assert.rejects(on.bench.get(key, { blobLength: 40_000, into: { slot, offset: 60 * 1024 } }), {
      code: 'INVALID_ARGUMENT',
    });
    await assert.rejects(on.bench.get(key, { blobLength: 40_000, range: { offset: 39_999, length: 2 } }), {
      code: 'OUT_OF_RANGE',
    });
    await assert.rejects(on.bench.get(key, { blobLength: 40_000, range: { offset: -1, length: 2 } }), {
      code: 'OUT_OF_RANGE',
    });
    slot.release();
  });

  it('finds a second put of the same bytes already there', async () => {
    const data = bytesOf(50_000);
    assert.equal((await on.bench.put('content', data)).hit, false);
    assert.equal((await on.bench.put('content', data)).hit, true);
    assert.equal(
      on.bench.cluster.all().reduce((sum, node) => sum + node.shards.length, 0),
      6,
    );
  });

  it('says whether a blob exists, and how it lies', async () => {
    using deadline = on.bench.cluster.deadline();
    const result = await on.bench.put('content', bytesOf(50_000));
    const { key } = result;
    const stat = await on.bench.cluster.client.stat({ key, policy: EC, deadline });
    assert.equal(stat.blobLength, 50_000);
    assert.deepEqual(stat.shards, result.nodes);
    assert.equal(await on.bench.cluster.client.exists({ key, policy: EC, deadline }), true);
    assert.equal(await on.bench.cluster.client.exists({ key: keyOf('other'), policy: EC, deadline }), false);
  });

  it('deletes a blob for good, and takes it again when it is put again', async () => {
    using deadline = on.bench.cluster.deadline();
    const data = bytesOf(50_000);
    const { key } = await on.bench.put('content', data);
    await on.bench.cluster.client.delete({ keys: [key], policy: EC, deadline });
    await assert.rejects(on.bench.get(key, { blobLength: data.length }), { code: 'BLOB_NOT_FOUND' });
    // A client whose clock is behind the deleter's learns the tombstone's stamp and goes on.
    for (const node of on.bench.cluster.all())
      for (const [name, stamp] of node.tombstones) node.tombstones.set(name, stamp + (1n << 26n));
    await on.bench.put('content', data);
    assert.deepEqual(take(await on.bench.get(key, { blobLength: data.length })), data);
  });

  it('deletes what a client put whose clock is ahead', async () => {
    using deadline = on.bench.cluster.deadline();
    const data = bytesOf(50_000);
    const { key } = await on.bench.put('content', data);
    for (const node of on.bench.cluster.all()) {
      const ahead = node.shards.map((shard) => ({
        ...shard,
        meta: { ...shard.meta, stamp: shard.meta.stamp + (1n << 26n) },
      }));
      node.shards.splice(0, node.shards.length, ...ahead);
    }
    await on.bench.cluster.client.delete({ keys: [key], policy: EC, deadline });
    await assert.rejects(on.bench.get(key, { blobLength: data.length }), { code: 'BLOB_NOT_FOUND' });
  });

  it('refuses to delete more at once than a message to a node takes', async () => {
    using deadline = on.bench.cluster.deadline();
    const keys = Array.from({ length: 1025 }, (_, i) => keyOf(String(i)));
    const { client } = on.bench.cluster;
    await assert.rejects(client.delete({ keys, policy: EC, deadline }), {
      code: 'INVALID_ARGUMENT',
      fields: { field: 'keys', reason: '1025 are more than 1024' },
    });
    assert.ok(on.bench.cluster.all().every(({ tombstones }) => tombstones.size === 0));
    await client.delete({ keys: keys.slice(1), policy: EC, deadline });
  });

  it('replicates with k = 1, any copy will do', async () => {
    const policy = parsePolicy('replica:3');
    const data = bytesOf(10_000);
    const result = await on.bench.put('content', data, policy);
    assert.equal(result.nodes.length, 3);
    for (const lost of combinations(2, 3)) {
      for (const shard of lost) on.bench.owner(result, shard).frozen = true;
      const saved = lost.map((shard) => on.bench.owner(result, shard).shards.splice(0));
      for (const shard of lost) on.bench.owner(result, shard).frozen = false;
      assert.deepEqual(take(await on.bench.get(result.key, { policy, blobLength: data.length })), data);
      lost.forEach((shard, at) => {
        on.bench.owner(result, shard).shards.push(...(saved[at] ?? []));
      });
    }
  });

  it('finds blobs of the previous epoch after the map changed', async () => {
    const data = bytesOf(60_000);
    const stored: BlobKey[] = [];
    for (let at = 0; at < 20; at++) stored.push((await on.bench.put(keyOf(`old ${at}`), data)).key);
    on.bench.cluster.maps.set(sampleMap(sampleNodes(9), 2));
    for (const key of stored) assert.deepEqual(take(await on.bench.get(key, { blobLength: data.length })), data);
    assert.ok(on.bench.cluster.maps.current().nodes.length === 9);
  });

  it('keeps no slab memory after an error', async () => {
    const slots = on.bench.cluster.slab.slots;
    for (const node of on.bench.cluster.all().slice(0, 4)) node.kill();
    using deadline = on.bench.cluster.deadline(30);
    await assert.rejects(on.bench.cluster.client.put({ key: keyOf('w'), data: bytesOf(5000), policy: EC, deadline }));
    await assert.rejects(on.bench.get(keyOf('w'), { blobLength: 5000 }));
    assert.equal(on.bench.cluster.slab.slots, slots);
  });

  it('refuses a stripe that is laid out for another policy, and a blob above 64 MiB', async () => {
    using deadline = on.bench.cluster.deadline();
    const stripe = await on.bench.cluster.client.allocStripe(EC, 5000, deadline);
    const request = { key: blobKey(randomBytes(32)), stripe, policy: parsePolicy('ec:2+1'), deadline };
    await assert.rejects(on.bench.cluster.client.putStripe(request), { code: 'INVALID_ARGUMENT' });
    stripe.release();
    await assert.rejects(on.bench.cluster.client.allocStripe(EC, (64 << 20) + 1, deadline), {
      code: 'INVALID_ARGUMENT',
    });
  });
});
