import assert from 'node:assert/strict';
import { realClock } from '../../../../common/ports/index.ts';
import { parsePolicy } from '../../../../engine/blob/index.ts';
import type { PutResult, Waiting } from '../../../../engine/client/index.ts';
import { bytesOf, EC, eachOnSixNodes, keyOf, take, until } from './client-bench.ts';
import { FakeCluster } from './fake-cluster.ts';

describe('blob client with too few nodes for a write', () => {
  const on = eachOnSixNodes();

  const distribution = (result: PutResult): number[] => {
    const counts = new Map<string, number>();
    for (const id of result.nodes) counts.set(String(id), (counts.get(String(id)) ?? 0) + 1);
    return [...counts.values()].sort();
  };

  it('doubles up evenly on those that are left, says so, and survives one more loss', async () => {
    const data = bytesOf(200_000);
    const [a, b] = on.bench.cluster.all();
    a?.kill();
    b?.kill();
    const result = await on.bench.put('content', data);
    assert.deepEqual(distribution(result), [1, 1, 2, 2]);
    assert.equal(result.degraded, true);
    for (const node of on.bench.cluster.holders(result.key)) {
      const saved = node.shards.splice(0);
      assert.deepEqual(take(await on.bench.get(result.key, { blobLength: data.length })), data, `without ${node.id}`);
      node.shards.push(...saved);
    }
    await until(() => on.bench.cluster.holders(result.key).every((node) => node.marks.size === 1));
    const mask = on.bench.cluster.holders(result.key)[0]?.marks.values().next().value;
    const home = result.nodes.map((id, shard) => ({ id, shard }));
    assert.ok(mask !== undefined && mask > 0 && mask < 64, `${mask} of ${home.length}`);
  });

  it('puts two shards each on three nodes, and none on two', async () => {
    for (const node of on.bench.cluster.all().slice(0, 3)) node.kill();
    assert.deepEqual(distribution(await on.bench.put('content', bytesOf(100_000))), [2, 2, 2]);
    on.bench.cluster.all()[3]?.kill();
    using deadline = on.bench.cluster.deadline();
    const before = on.bench.cluster.all().map((node) => node.shards.length);
    await assert.rejects(
      on.bench.cluster.client.put({
        key: keyOf('two'),
        data: bytesOf(100_000),
        policy: EC,
        deadline,
        tooFewNodes: 'refuse',
      }),
      { code: 'NOT_ENOUGH_NODES' },
    );
    assert.deepEqual(
      on.bench.cluster.all().map((node) => node.shards.length),
      before,
    );
  });

  it('waits, visibly, until enough nodes are back', async () => {
    for (const node of on.bench.cluster.all().slice(0, 4)) node.kill();
    const seen: (Waiting | undefined)[] = [];
    using deadline = on.bench.cluster.deadline();
    let done = false;
    const writing = on.bench.cluster.client
      .put({ key: keyOf('w'), data: bytesOf(50_000), policy: EC, deadline, waiting: (waiting) => seen.push(waiting) })
      .finally(() => {
        done = true;
      });
    await until(() => seen.length > 0);
    assert.deepEqual(Buffer.from(seen[0]?.key ?? []), Buffer.from(keyOf('w')));
    assert.deepEqual([...(seen[0]?.nodes ?? [])].sort(), ['n0', 'n1', 'n2', 'n3']);
    assert.equal(done, false);
    on.bench.cluster.all()[0]?.revive();
    const result = await writing;
    assert.deepEqual(distribution(result), [2, 2, 2]);
    assert.equal(seen.at(-1), undefined);
  });

  it('refuses at the deadline with what was missing', async () => {
    for (const node of on.bench.cluster.all().slice(0, 4)) node.kill();
    using deadline = on.bench.cluster.deadline(80);
    await assert.rejects(on.bench.cluster.client.put({ key: keyOf('w'), data: bytesOf(5000), policy: EC, deadline }), {
      code: 'NOT_ENOUGH_NODES',
    });
  });

  it('waits for the owners themselves when degraded writes are not wanted', async () => {
    on.bench.cluster.all()[0]?.kill();
    using deadline = on.bench.cluster.deadline(80);
    const request = { key: keyOf('w'), data: bytesOf(5000), policy: EC, deadline };
    await assert.rejects(on.bench.cluster.client.put({ ...request, degradedWrites: 'wait' }), {
      code: 'NOT_ENOUGH_NODES',
    });
  });

  it('says full when the nodes are full, before anything is acknowledged', async () => {
    for (const node of on.bench.cluster.all()) node.full = true;
    using deadline = on.bench.cluster.deadline();
    const request = { key: keyOf('w'), data: bytesOf(5000), policy: EC, deadline };
    await assert.rejects(on.bench.cluster.client.put({ ...request, tooFewNodes: 'refuse' }), { code: 'DEVICE_FULL' });
  });

  it('goes around a node that refuses or dies while the others are being written', async () => {
    on.bench.cluster.all()[2]?.kill();
    const node = on.bench.cluster.all()[4];
    if (node !== undefined) node.full = true;
    const data = bytesOf(100_000);
    const result = await on.bench.put('content', data);
    assert.deepEqual(distribution(result), [1, 1, 2, 2]);
    assert.deepEqual(take(await on.bench.get(result.key, { blobLength: data.length })), data);
  });

  it('keeps a replicated blob on a majority, never two copies on one node', async () => {
    on.bench.cluster = new FakeCluster(3, realClock);
    const policy = parsePolicy('replica:3');
    on.bench.cluster.all()[0]?.kill();
    const result = await on.bench.put('content', bytesOf(5000), policy);
    assert.equal(result.nodes.filter((node) => node !== undefined).length, 2);
    assert.equal(result.degraded, true);
    on.bench.cluster.all()[1]?.kill();
    using deadline = on.bench.cluster.deadline(60);
    await assert.rejects(on.bench.cluster.client.put({ key: keyOf('x'), data: bytesOf(10), policy, deadline }), {
      code: 'NOT_ENOUGH_NODES',
    });
  });
});
