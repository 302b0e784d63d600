import assert from 'node:assert/strict';
import { type NodeId, stripeIdHex } from '../../../../engine/blob/index.ts';
import { bytesOf, combinations, EC, eachOnSixNodes, keyOf, take, until } from './client-bench.ts';

describe('blob client with two writers of one key and other bytes', () => {
  const on = eachOnSixNodes();

  const key = keyOf('token');

  it('reads the one or the other whole, never a mixture', async () => {
    const [a, b] = [bytesOf(100_000, 1), bytesOf(100_000, 2)];
    const other = on.bench.cluster.newClient(2);
    using deadline = on.bench.cluster.deadline();
    const [first, second] = await Promise.all([
      on.bench.put(key, a),
      other.put({ key, data: b, policy: EC, deadline }),
    ]);
    assert.notEqual(stripeIdHex(first.stripeId), stripeIdHex(second.stripeId));
    for (const lost of combinations(2, 6)) {
      for (const shard of lost) on.bench.owner(first, shard).kill();
      const got = take(await on.bench.get(key, { blobLength: 100_000 }));
      assert.ok(got.equals(a) || got.equals(b));
      for (const shard of lost) on.bench.owner(first, shard).revive();
      await until(() => first.nodes.every((id) => on.bench.cluster.client.nodes().isReachable(id as NodeId)));
    }
    assert.deepEqual(take(await on.bench.get(key, { blobLength: 100_000, stripeId: first.stripeId })), a);
    assert.deepEqual(take(await on.bench.get(key, { blobLength: 100_000, stripeId: second.stripeId })), b);
    other.close();
  });

  it('reads the complete one when another was given up half-way', async () => {
    const [a, b] = [bytesOf(100_000, 1), bytesOf(100_000, 2)];
    const first = await on.bench.put(key, a);
    await on.bench.put(key, b);
    for (const shard of [0, 2, 5]) {
      const node = on.bench.owner(first, shard);
      node.shards.splice(
        0,
        node.shards.length,
        ...node.shards.filter(({ meta }) => stripeIdHex(meta.stripeId) === stripeIdHex(first.stripeId)),
      );
    }
    assert.deepEqual(take(await on.bench.get(key, { blobLength: 100_000 })), a);
  });

  it('is no hit until all shards of its own bytes are there, and completes them', async () => {
    const data = bytesOf(100_000, 1);
    const first = await on.bench.put(key, data);
    on.bench.owner(first, 3).shards.length = 0;
    const again = await on.bench.put(key, data);
    assert.equal(again.hit, false);
    assert.equal(on.bench.owner(first, 3).shards.length, 1);
    assert.equal((await on.bench.put(key, data)).hit, true);
  });
});
