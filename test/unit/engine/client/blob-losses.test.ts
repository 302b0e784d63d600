import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NabuError } from '../../../../common/errors/index.ts';
import { realClock, SimClock } from '../../../../common/ports/index.ts';
import type { BlobKey, NodeId } from '../../../../engine/blob/index.ts';
import type { Waiting } from '../../../../engine/client/index.ts';
import { advancing, bytesOf, combinations, EC, eachOnSixNodes, keyOf, take, until } from './client-bench.ts';
import { FakeCluster } from './fake-cluster.ts';
import type { FakeNode } from './fake-node.ts';

describe('blob client with losses', () => {
  const on = eachOnSixNodes();

  it('reads after the loss of any two shards, by corruption, absence or death', async () => {
    const data = bytesOf(200_000);
    for (const [how, harm, heal] of [
      [
        'corrupt',
        (node: FakeNode, key: BlobKey) => node.corrupt(key),
        (node: FakeNode, key: BlobKey) => node.corrupt(key),
      ],
      ['dead', (node: FakeNode) => node.kill(), (node: FakeNode) => node.revive()],
    ] as const) {
      const result = await on.bench.put(keyOf(how), data);
      for (const lost of combinations(2, 6)) {
        for (const shard of lost) harm(on.bench.owner(result, shard), result.key);
        assert.deepEqual(take(await on.bench.get(result.key, { blobLength: data.length })), data, `${how} ${lost}`);
        for (const shard of lost) heal(on.bench.owner(result, shard), result.key);
        await until(() => result.nodes.every((id) => on.bench.cluster.client.nodes().isReachable(id as NodeId)));
      }
    }
    assert.ok(on.bench.cluster.client.counters.corruptShards > 0);
  });

  it('says unreadable with three shards lost, and names the nodes', async () => {
    const result = await on.bench.put('content', bytesOf(200_000));
    const lost = [0, 2, 4].map((shard) => on.bench.owner(result, shard));
    for (const node of lost) node.kill();
    await assert.rejects(on.bench.get(result.key, { blobLength: 200_000 }), (err: unknown) => {
      assert.ok(NabuError.is(err, 'BLOB_UNREADABLE'));
      assert.equal(err.fields.found, 3);
      assert.deepEqual([...(err.fields.nodes as string[])].sort(), lost.map(({ id }) => id).sort());
      return true;
    });
  });

  it('tells proven absence from silence', async () => {
    const key = keyOf('nothing');
    await assert.rejects(on.bench.get(key), { code: 'BLOB_NOT_FOUND' });
    const [a, b, c] = on.bench.cluster.all();
    a?.kill();
    b?.kill();
    await assert.rejects(
      on.bench.get(key),
      { code: 'BLOB_NOT_FOUND' },
      'two silent nodes cannot hold an acknowledged 4+2 blob',
    );
    c?.kill();
    await assert.rejects(on.bench.get(key), { code: 'BLOB_UNKNOWN' });
  });

  it('does not take an emptied store for a proof of absence', async () => {
    const result = await on.bench.put('content', bytesOf(50_000));
    for (const node of on.bench.cluster.all().slice(0, 3)) node.wipe();
    await assert.rejects(on.bench.get(result.key), { code: 'BLOB_UNREADABLE' });
    for (const node of on.bench.cluster.all()) node.wipe();
    await assert.rejects(on.bench.get(result.key), { code: 'BLOB_UNKNOWN' });
  });

  it('says lost only of shards that are there and corrupt', async () => {
    const result = await on.bench.put('content', bytesOf(50_000));
    for (const shard of [0, 1, 2]) on.bench.owner(result, shard).corrupt(result.key);
    await assert.rejects(on.bench.get(result.key, { blobLength: 50_000 }), { code: 'BLOB_LOST' });
  });

  it('does not wait for a late owner longer than its reads usually take', async () => {
    const clock = new SimClock();
    on.bench.cluster = new FakeCluster(6, clock);
    const data = bytesOf(100_000);
    const result = await advancing(clock, on.bench.put('content', data));
    on.bench.owner(result, 1).delayMs = 60_000;
    const startMs = clock.monotonicMs();
    const got = await advancing(
      clock,
      on.bench.get(result.key, { blobLength: data.length, deadline: on.bench.cluster.deadline(120_000) }),
    );
    assert.ok(got.decoded);
    assert.deepEqual(take(got), data);
    assert.ok(clock.monotonicMs() - startMs < 200, `${clock.monotonicMs() - startMs} ms`);
    assert.equal(on.bench.cluster.client.counters.hedges, 1);
    await clock.advance(130_000);
  });

  it('never lets the late answer of an owner touch memory that was given back', async () => {
    const clock = new SimClock();
    on.bench.cluster = new FakeCluster(6, clock);
    const data = bytesOf(100_000);
    const result = await advancing(clock, on.bench.put('content', data));
    const slot = on.bench.cluster.slab.alloc(128 * 1024);
    on.bench.owner(result, 0).delayMs = 1000;
    await advancing(
      clock,
      on.bench.get(result.key, {
        blobLength: data.length,
        into: { slot, offset: 0 },
        deadline: on.bench.cluster.deadline(60_000),
      }),
    );
    slot.bytes.fill(0xee);
    await clock.advance(5000);
    assert.ok(slot.bytes.every((byte) => byte === 0xee));
    slot.release();
    await clock.advance(60_000);
  });

  it('keeps the memory until bytes that are arriving have arrived, also when it gives up', async () => {
    const clock = new SimClock();
    on.bench.cluster = new FakeCluster(6, clock);
    const data = bytesOf(100_000);
    const result = await advancing(clock, on.bench.put('content', data));
    const slot = on.bench.cluster.slab.alloc(128 * 1024);
    on.bench.owner(result, 0).payloadMs = 1000;
    const request = { blobLength: data.length, into: { slot, offset: 0 }, deadline: on.bench.cluster.deadline(100) };
    await assert.rejects(advancing(clock, on.bench.get(result.key, request)), { code: 'TIMEOUT' });
    slot.bytes.fill(0xee);
    await clock.advance(5000);
    assert.ok(slot.bytes.every((byte) => byte === 0xee));
    slot.release();
  });

  it('waits visibly for nodes when asked to, and reads when they return', async () => {
    const result = await on.bench.put('content', bytesOf(50_000));
    const lost = [0, 1, 2].map((shard) => on.bench.owner(result, shard));
    for (const node of lost) node.kill();
    const seen: (Waiting | undefined)[] = [];
    const reading = on.bench.get(result.key, {
      blobLength: 50_000,
      unreadable: 'wait',
      waiting: (waiting) => seen.push(waiting),
    });
    await until(() => seen.length > 0);
    assert.deepEqual([...(seen[0]?.nodes ?? [])].sort(), lost.map(({ id }) => id).sort());
    for (const node of lost) node.revive();
    assert.deepEqual(take(await reading), bytesOf(50_000));
    assert.equal(seen.at(-1), undefined);
  });

  it('ends a wait at the deadline with what it waited for', async () => {
    const result = await on.bench.put('content', bytesOf(50_000));
    for (const shard of [0, 1, 2]) on.bench.owner(result, shard).kill();
    using deadline = on.bench.cluster.deadline(100);
    await assert.rejects(on.bench.get(result.key, { blobLength: 50_000, unreadable: 'wait', deadline }), {
      code: 'BLOB_UNREADABLE',
    });
  });

  it('leaves nothing acknowledged behind an error: any random failures give the right bytes or an error', async () => {
    const length = 50_000;
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.array(fc.constantFrom('ok', 'ok', 'ok', 'dead', 'full', 'slow', 'corrupt', 'wiped'), {
          minLength: 6,
          maxLength: 6,
        }),
        async (seed, before) => {
          on.bench.cluster = new FakeCluster(6, realClock, seed);
          const apply = (key: BlobKey): void => {
            on.bench.cluster.all().forEach((node, at) => {
              if (before[at] === 'dead') node.kill();
              if (before[at] === 'slow') node.delayMs = 3;
              if (before[at] === 'corrupt') node.corrupt(key);
              if (before[at] === 'wiped') node.wipe();
            });
          };
          on.bench.cluster.all().forEach((node, at) => {
            node.full = before[at] === 'full';
          });
          const data = bytesOf(length, seed);
          using deadline = on.bench.cluster.deadline();
          let acknowledged = false;
          const key = keyOf(`random ${seed}`);
          try {
            await on.bench.cluster.client.put({ key, data, policy: EC, deadline, tooFewNodes: 'refuse' });
            acknowledged = true;
          } catch (err) {
            assert.ok(NabuError.is(err, 'NOT_ENOUGH_NODES', 'DEVICE_FULL'));
          }
          apply(key);
          try {
            assert.deepEqual(take(await on.bench.get(key, { blobLength: length })), data);
          } catch (err) {
            assert.ok(NabuError.is(err, 'BLOB_UNREADABLE', 'BLOB_UNKNOWN', 'BLOB_LOST', 'BLOB_NOT_FOUND'), String(err));
            if (acknowledged) assert.notEqual(err.code, 'BLOB_NOT_FOUND', 'an acknowledged blob was said to be absent');
          }
          on.bench.cluster.close();
        },
      ),
      { numRuns: 150 },
    );
  }).timeout(20_000);
});
