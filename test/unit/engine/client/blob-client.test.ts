import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { NabuError } from '../../../../common/errors/index.ts';
import { realClock, SeededRandom, SimClock } from '../../../../common/ports/index.ts';
import {
  type BlobKey,
  blobKey,
  contentKey,
  logKey,
  logPolicy,
  type NodeId,
  type Policy,
  parsePolicy,
  stripeIdHex,
  volumeId,
} from '../../../../engine/blob/index.ts';
import type { GetResult, PutResult, Waiting } from '../../../../engine/client/index.ts';
import { sampleMap, sampleNodes } from '../placement/sample-map.ts';
import { FakeCluster } from './fake-cluster.ts';
import type { FakeNode } from './fake-node.ts';

const EC = parsePolicy('ec:4+2');
const VOLUME = volumeId('00112233445566778899aabbccddeeff');

function bytesOf(length: number, seed = 1): Buffer {
  return Buffer.from(new SeededRandom(seed).bytes(length));
}

function keyOf(text: string): BlobKey {
  return contentKey(Buffer.from(text));
}

/** Copies out what was read and gives the slot back. */
function take({ slot, offset, length }: GetResult): Buffer {
  const copy = Buffer.from(slot.bytes.subarray(offset, offset + length));
  slot.release();
  return copy;
}

/** Lets real time pass event-loop turn by turn until the state is there. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

/** Moves simulated time in small steps until the promise settles. */
async function advancing<T>(clock: SimClock, promise: Promise<T>): Promise<T> {
  let settled = false;
  const done = promise.finally(() => {
    settled = true;
  });
  done.catch(() => undefined);
  while (!settled) await clock.advance(5);
  return await done;
}

function combinations(count: number, of: number): number[][] {
  const out: number[][] = [];
  const choose = (from: number, chosen: number[]): void => {
    if (chosen.length === count) out.push(chosen);
    else for (let at = from; at < of; at++) choose(at + 1, [...chosen, at]);
  };
  choose(0, []);
  return out;
}

describe('blob client', () => {
  let cluster: FakeCluster;

  beforeEach(() => {
    cluster = new FakeCluster(6, realClock);
  });

  afterEach(async () => {
    for (const node of cluster.all()) {
      node.frozen = false;
      node.kill();
    }
    cluster.close();
    await until(() => cluster.slab.slots === cluster.slotsBefore);
  });

  const put = async (key: BlobKey | 'content', data: Buffer, policy: Policy = EC): Promise<PutResult> => {
    using deadline = cluster.deadline();
    return await cluster.client.put({ key, data, policy, deadline });
  };

  const get = async (
    key: BlobKey,
    more: Partial<Parameters<FakeCluster['client']['get']>[0]> = {},
  ): Promise<GetResult> => {
    using deadline = cluster.deadline();
    return await cluster.client.get({ key, policy: EC, deadline, ...more });
  };

  const owner = (result: PutResult, shard: number): FakeNode => cluster.node(result.nodes[shard] as NodeId);

  describe('with all nodes there', () => {
    it('puts one shard on each of six nodes and reads the bytes back, whatever the length', async () => {
      for (const length of [0, 1, 4095, 4096, 4097, 16384, 100_000, 1 << 20]) {
        const data = bytesOf(length, length);
        const result = await put('content', data);
        assert.deepEqual(Buffer.from(result.key), Buffer.from(contentKey(data)));
        assert.equal(new Set(result.nodes).size, 6);
        assert.equal(result.degraded, false);
        assert.deepEqual(take(await get(result.key, { blobLength: length })), data);
        assert.deepEqual(take(await get(result.key)), data, 'with the length unknown');
      }
    });

    it('reads only the blocks that a range needs', async () => {
      const data = bytesOf(64 * 1024);
      const { key } = await put('content', data);
      const bytesBefore = cluster.all().reduce((sum, node) => sum + node.calls.readBytes, 0);
      const result = await get(key, { blobLength: data.length, range: { offset: 5000, length: 100 } });
      assert.deepEqual(take(result), data.subarray(5000, 5100));
      assert.equal(cluster.all().reduce((sum, node) => sum + node.calls.readBytes, 0) - bytesBefore, 4096);
    });

    it('reads any range of any blob, with or without losses', async () => {
      const length = 70_001;
      const data = bytesOf(length);
      const result = await put('content', data);
      const range = fc
        .tuple(fc.nat(length), fc.nat(length))
        .map(([a, b]) => ({ offset: Math.min(a, b), length: Math.abs(a - b) }));
      await fc.assert(
        fc.asyncProperty(range, fc.uniqueArray(fc.nat(5), { maxLength: 2 }), async (wanted, rotten) => {
          const saved = rotten.map((shard) => owner(result, shard).shards.splice(0));
          try {
            const got = take(await get(result.key, { blobLength: length, range: wanted }));
            assert.deepEqual(got, data.subarray(wanted.offset, wanted.offset + wanted.length));
          } finally {
            rotten.forEach((shard, at) => {
              owner(result, shard).shards.push(...(saved[at] ?? []));
            });
          }
        }),
        { numRuns: 200 },
      );
    });

    it('reads into memory that the caller gives, and refuses a range that is not there or does not fit', async () => {
      const data = bytesOf(40_000);
      const { key } = await put('content', data);
      const slot = cluster.slab.alloc(64 * 1024);
      const result = await get(key, {
        blobLength: 40_000,
        into: { slot, offset: 8192 },
        range: { offset: 20_000, length: 10_000 },
      });
      assert.equal(result.slot, slot);
      assert.deepEqual(
        Buffer.from(slot.bytes.subarray(result.offset, result.offset + 10_000)),
        data.subarray(20_000, 30_000),
      );
      await assert.rejects(get(key, { blobLength: 40_000, into: { slot, offset: 60 * 1024 } }), {
        code: 'INVALID_ARGUMENT',
      });
      await assert.rejects(get(key, { blobLength: 40_000, range: { offset: 39_999, length: 2 } }), {
        code: 'OUT_OF_RANGE',
      });
      await assert.rejects(get(key, { blobLength: 40_000, range: { offset: -1, length: 2 } }), {
        code: 'OUT_OF_RANGE',
      });
      slot.release();
    });

    it('finds a second put of the same bytes already there', async () => {
      const data = bytesOf(50_000);
      assert.equal((await put('content', data)).hit, false);
      assert.equal((await put('content', data)).hit, true);
      assert.equal(
        cluster.all().reduce((sum, node) => sum + node.shards.length, 0),
        6,
      );
    });

    it('says whether a blob exists, and how it lies', async () => {
      using deadline = cluster.deadline();
      const result = await put('content', bytesOf(50_000));
      const { key } = result;
      const stat = await cluster.client.stat({ key, policy: EC, deadline });
      assert.equal(stat.blobLength, 50_000);
      assert.deepEqual(stat.shards, result.nodes);
      assert.equal(await cluster.client.exists({ key, policy: EC, deadline }), true);
      assert.equal(await cluster.client.exists({ key: keyOf('other'), policy: EC, deadline }), false);
    });

    it('deletes a blob for good, and takes it again when it is put again', async () => {
      using deadline = cluster.deadline();
      const data = bytesOf(50_000);
      const { key } = await put('content', data);
      await cluster.client.delete({ key, policy: EC, deadline });
      await assert.rejects(get(key, { blobLength: data.length }), { code: 'BLOB_NOT_FOUND' });
      // A client whose clock is behind the deleter's learns the tombstone's stamp and goes on.
      for (const node of cluster.all())
        for (const [name, stamp] of node.tombstones) node.tombstones.set(name, stamp + (1n << 26n));
      await put('content', data);
      assert.deepEqual(take(await get(key, { blobLength: data.length })), data);
    });

    it('replicates with k = 1, any copy will do', async () => {
      const policy = parsePolicy('replica:3');
      const data = bytesOf(10_000);
      const result = await put('content', data, policy);
      assert.equal(result.nodes.length, 3);
      for (const lost of combinations(2, 3)) {
        for (const shard of lost) owner(result, shard).frozen = true;
        const saved = lost.map((shard) => owner(result, shard).shards.splice(0));
        for (const shard of lost) owner(result, shard).frozen = false;
        assert.deepEqual(take(await get(result.key, { policy, blobLength: data.length })), data);
        lost.forEach((shard, at) => {
          owner(result, shard).shards.push(...(saved[at] ?? []));
        });
      }
    });
  });

  describe('with losses', () => {
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
        const result = await put(keyOf(how), data);
        for (const lost of combinations(2, 6)) {
          for (const shard of lost) harm(owner(result, shard), result.key);
          assert.deepEqual(take(await get(result.key, { blobLength: data.length })), data, `${how} ${lost}`);
          for (const shard of lost) heal(owner(result, shard), result.key);
          await until(() => result.nodes.every((id) => cluster.client.nodes().isReachable(id as NodeId)));
        }
      }
      assert.ok(cluster.client.counters.corruptShards > 0);
    });

    it('says unreadable with three shards lost, and names the nodes', async () => {
      const result = await put('content', bytesOf(200_000));
      const lost = [0, 2, 4].map((shard) => owner(result, shard));
      for (const node of lost) node.kill();
      await assert.rejects(get(result.key, { blobLength: 200_000 }), (err: unknown) => {
        assert.ok(NabuError.is(err, 'BLOB_UNREADABLE'));
        assert.equal(err.fields.found, 3);
        assert.deepEqual([...(err.fields.nodes as string[])].sort(), lost.map(({ id }) => id).sort());
        return true;
      });
    });

    it('tells proven absence from silence', async () => {
      const key = keyOf('nothing');
      await assert.rejects(get(key), { code: 'BLOB_NOT_FOUND' });
      const [a, b, c] = cluster.all();
      a?.kill();
      b?.kill();
      await assert.rejects(
        get(key),
        { code: 'BLOB_NOT_FOUND' },
        'two silent nodes cannot hold an acknowledged 4+2 blob',
      );
      c?.kill();
      await assert.rejects(get(key), { code: 'BLOB_UNKNOWN' });
    });

    it('does not take an emptied store for a proof of absence', async () => {
      const result = await put('content', bytesOf(50_000));
      for (const node of cluster.all().slice(0, 3)) node.wipe();
      await assert.rejects(get(result.key), { code: 'BLOB_UNREADABLE' });
      for (const node of cluster.all()) node.wipe();
      await assert.rejects(get(result.key), { code: 'BLOB_UNKNOWN' });
    });

    it('says lost only of shards that are there and corrupt', async () => {
      const result = await put('content', bytesOf(50_000));
      for (const shard of [0, 1, 2]) owner(result, shard).corrupt(result.key);
      await assert.rejects(get(result.key, { blobLength: 50_000 }), { code: 'BLOB_LOST' });
    });

    it('does not wait for a late owner longer than its reads usually take', async () => {
      const clock = new SimClock();
      cluster = new FakeCluster(6, clock);
      const data = bytesOf(100_000);
      const result = await advancing(clock, put('content', data));
      owner(result, 1).delayMs = 60_000;
      const startMs = clock.monotonicMs();
      const got = await advancing(
        clock,
        get(result.key, { blobLength: data.length, deadline: cluster.deadline(120_000) }),
      );
      assert.ok(got.decoded);
      assert.deepEqual(take(got), data);
      assert.ok(clock.monotonicMs() - startMs < 200, `${clock.monotonicMs() - startMs} ms`);
      assert.equal(cluster.client.counters.hedges, 1);
      await clock.advance(130_000);
    });

    it('never lets the late answer of an owner touch memory that was given back', async () => {
      const clock = new SimClock();
      cluster = new FakeCluster(6, clock);
      const data = bytesOf(100_000);
      const result = await advancing(clock, put('content', data));
      const slot = cluster.slab.alloc(128 * 1024);
      owner(result, 0).delayMs = 1000;
      await advancing(
        clock,
        get(result.key, { blobLength: data.length, into: { slot, offset: 0 }, deadline: cluster.deadline(60_000) }),
      );
      slot.bytes.fill(0xee);
      await clock.advance(5000);
      assert.ok(slot.bytes.every((byte) => byte === 0xee));
      slot.release();
      await clock.advance(60_000);
    });

    it('waits visibly for nodes when asked to, and reads when they return', async () => {
      const result = await put('content', bytesOf(50_000));
      const lost = [0, 1, 2].map((shard) => owner(result, shard));
      for (const node of lost) node.kill();
      const seen: (Waiting | undefined)[] = [];
      const reading = get(result.key, {
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
      const result = await put('content', bytesOf(50_000));
      for (const shard of [0, 1, 2]) owner(result, shard).kill();
      using deadline = cluster.deadline(100);
      await assert.rejects(get(result.key, { blobLength: 50_000, unreadable: 'wait', deadline }), {
        code: 'BLOB_UNREADABLE',
      });
    });
  });

  describe('with too few nodes for a write', () => {
    const distribution = (result: PutResult): number[] => {
      const counts = new Map<string, number>();
      for (const id of result.nodes) counts.set(String(id), (counts.get(String(id)) ?? 0) + 1);
      return [...counts.values()].sort();
    };

    it('doubles up evenly on those that are left, says so, and survives one more loss', async () => {
      const data = bytesOf(200_000);
      const [a, b] = cluster.all();
      a?.kill();
      b?.kill();
      const result = await put('content', data);
      assert.deepEqual(distribution(result), [1, 1, 2, 2]);
      assert.equal(result.degraded, true);
      for (const node of cluster.holders(result.key)) {
        const saved = node.shards.splice(0);
        assert.deepEqual(take(await get(result.key, { blobLength: data.length })), data, `without ${node.id}`);
        node.shards.push(...saved);
      }
      await until(() => cluster.holders(result.key).every((node) => node.marks.size === 1));
      const mask = cluster.holders(result.key)[0]?.marks.values().next().value;
      const home = result.nodes.map((id, shard) => ({ id, shard }));
      assert.ok(mask !== undefined && mask > 0 && mask < 64, `${mask} of ${home.length}`);
    });

    it('puts two shards each on three nodes, and none on two', async () => {
      for (const node of cluster.all().slice(0, 3)) node.kill();
      assert.deepEqual(distribution(await put('content', bytesOf(100_000))), [2, 2, 2]);
      cluster.all()[3]?.kill();
      using deadline = cluster.deadline();
      const before = cluster.all().map((node) => node.shards.length);
      await assert.rejects(
        cluster.client.put({ key: keyOf('two'), data: bytesOf(100_000), policy: EC, deadline, tooFewNodes: 'refuse' }),
        { code: 'NOT_ENOUGH_NODES' },
      );
      assert.deepEqual(
        cluster.all().map((node) => node.shards.length),
        before,
      );
    });

    it('waits, visibly, until enough nodes are back', async () => {
      for (const node of cluster.all().slice(0, 4)) node.kill();
      const seen: (Waiting | undefined)[] = [];
      using deadline = cluster.deadline();
      let done = false;
      const writing = cluster.client
        .put({ key: keyOf('w'), data: bytesOf(50_000), policy: EC, deadline, waiting: (waiting) => seen.push(waiting) })
        .finally(() => {
          done = true;
        });
      await until(() => seen.length > 0);
      assert.deepEqual(Buffer.from(seen[0]?.key ?? []), Buffer.from(keyOf('w')));
      assert.deepEqual([...(seen[0]?.nodes ?? [])].sort(), ['n0', 'n1', 'n2', 'n3']);
      assert.equal(done, false);
      cluster.all()[0]?.revive();
      const result = await writing;
      assert.deepEqual(distribution(result), [2, 2, 2]);
      assert.equal(seen.at(-1), undefined);
    });

    it('refuses at the deadline with what was missing', async () => {
      for (const node of cluster.all().slice(0, 4)) node.kill();
      using deadline = cluster.deadline(80);
      await assert.rejects(cluster.client.put({ key: keyOf('w'), data: bytesOf(5000), policy: EC, deadline }), {
        code: 'NOT_ENOUGH_NODES',
      });
    });

    it('waits for the owners themselves when degraded writes are not wanted', async () => {
      cluster.all()[0]?.kill();
      using deadline = cluster.deadline(80);
      const request = { key: keyOf('w'), data: bytesOf(5000), policy: EC, deadline };
      await assert.rejects(cluster.client.put({ ...request, degradedWrites: 'wait' }), { code: 'NOT_ENOUGH_NODES' });
    });

    it('says full when the nodes are full, before anything is acknowledged', async () => {
      for (const node of cluster.all()) node.full = true;
      using deadline = cluster.deadline();
      const request = { key: keyOf('w'), data: bytesOf(5000), policy: EC, deadline };
      await assert.rejects(cluster.client.put({ ...request, tooFewNodes: 'refuse' }), { code: 'DEVICE_FULL' });
    });

    it('goes around a node that refuses or dies while the others are being written', async () => {
      cluster.all()[2]?.kill();
      const node = cluster.all()[4];
      if (node !== undefined) node.full = true;
      const data = bytesOf(100_000);
      const result = await put('content', data);
      assert.deepEqual(distribution(result), [1, 1, 2, 2]);
      assert.deepEqual(take(await get(result.key, { blobLength: data.length })), data);
    });

    it('keeps a replicated blob on a majority, never two copies on one node', async () => {
      cluster = new FakeCluster(3, realClock);
      const policy = parsePolicy('replica:3');
      cluster.all()[0]?.kill();
      const result = await put('content', bytesOf(5000), policy);
      assert.equal(result.nodes.filter((node) => node !== undefined).length, 2);
      assert.equal(result.degraded, true);
      cluster.all()[1]?.kill();
      using deadline = cluster.deadline(60);
      await assert.rejects(cluster.client.put({ key: keyOf('x'), data: bytesOf(10), policy, deadline }), {
        code: 'NOT_ENOUGH_NODES',
      });
    });
  });

  describe('with log blobs', () => {
    const log = (sequence: bigint, generation = 1n) => {
      const epoch = { generation, incarnation: 1n };
      const homeSet = cluster.maps.current().nodes.map(({ id }) => id);
      return { owner: VOLUME, epoch, sequence, homeSet, homeSetVersion: 1n };
    };
    const putLog = async (sequence: bigint, length: number, generation = 1n): Promise<PutResult> => {
      using deadline = cluster.deadline();
      const policy = logPolicy(EC, length);
      const write = log(sequence, generation);
      const key = logKey(VOLUME, write.epoch, sequence);
      return await cluster.client.put({ key, data: bytesOf(length), policy, log: write, deadline });
    };

    it('keeps small ones on m + 1 nodes, all of which must confirm', async () => {
      const result = await putLog(1n, 8192);
      assert.equal(new Set(result.nodes).size, 3);
      for (const node of cluster.all().slice(0, 4)) node.kill();
      using deadline = cluster.deadline(60);
      const write = log(2n);
      const request = {
        key: logKey(VOLUME, write.epoch, 2n),
        data: bytesOf(8192),
        policy: logPolicy(EC, 8192),
        log: write,
      };
      await assert.rejects(cluster.client.put({ ...request, deadline }), { code: 'NOT_ENOUGH_NODES' });
    });

    it('stripes large ones', async () => {
      assert.equal(new Set((await putLog(1n, 300_000)).nodes).size, 6);
    });

    it('fails at once when any node says fenced', async () => {
      cluster.all()[3]?.fences.set(VOLUME, { generation: 2n, incarnation: 0n });
      await assert.rejects(putLog(1n, 300_000), { code: 'FENCED' });
      assert.equal((await putLog(2n, 300_000, 2n)).degraded, false);
    });

    it('stays in the home set', async () => {
      cluster = new FakeCluster(20, realClock);
      using deadline = cluster.deadline();
      const homeSet = cluster.maps
        .current()
        .nodes.slice(4, 16)
        .map(({ id }) => id);
      for (let sequence = 1n; sequence <= 20n; sequence++) {
        const write = { ...log(sequence), homeSet };
        const key = logKey(VOLUME, write.epoch, sequence);
        const result = await cluster.client.put({ key, data: bytesOf(300_000), policy: EC, log: write, deadline });
        for (const id of result.nodes) assert.ok(homeSet.includes(id as NodeId));
        take(await cluster.client.get({ key, policy: EC, blobLength: 300_000, homeSet, deadline }));
      }
    });

    it('probes nodes one by one and calls silence silence', async () => {
      const { key, nodes } = await putLog(1n, 8192);
      const all = cluster.all();
      const [frozen, dead, forgetful] = all.filter(({ id }) => !nodes.includes(id));
      assert.ok(frozen && dead && forgetful);
      frozen.frozen = true;
      dead.kill();
      forgetful.forgetful = true;
      using deadline = cluster.deadline();
      const answers = await cluster.client.probe({ key, nodes: all.map(({ id }) => id), deadline, nodeTimeoutMs: 50 });
      for (const id of nodes) assert.equal(answers.get(id as NodeId)?.state, 'found');
      assert.equal(answers.get(frozen.id)?.state, 'silent');
      assert.equal(answers.get(dead.id)?.state, 'silent');
      assert.equal(answers.get(forgetful.id)?.state, 'unknown');
    });
  });

  describe('with two writers of one key and other bytes', () => {
    const key = keyOf('token');

    it('reads the one or the other whole, never a mixture', async () => {
      const [a, b] = [bytesOf(100_000, 1), bytesOf(100_000, 2)];
      const other = cluster.newClient(2);
      using deadline = cluster.deadline();
      const [first, second] = await Promise.all([put(key, a), other.put({ key, data: b, policy: EC, deadline })]);
      assert.notEqual(stripeIdHex(first.stripeId), stripeIdHex(second.stripeId));
      for (const lost of combinations(2, 6)) {
        for (const shard of lost) owner(first, shard).kill();
        const got = take(await get(key, { blobLength: 100_000 }));
        assert.ok(got.equals(a) || got.equals(b));
        for (const shard of lost) owner(first, shard).revive();
        await until(() => first.nodes.every((id) => cluster.client.nodes().isReachable(id as NodeId)));
      }
      assert.deepEqual(take(await get(key, { blobLength: 100_000, stripeId: first.stripeId })), a);
      assert.deepEqual(take(await get(key, { blobLength: 100_000, stripeId: second.stripeId })), b);
      other.close();
    });

    it('reads the complete one when another was given up half-way', async () => {
      const [a, b] = [bytesOf(100_000, 1), bytesOf(100_000, 2)];
      const first = await put(key, a);
      await put(key, b);
      for (const shard of [0, 2, 5]) {
        const node = owner(first, shard);
        node.shards.splice(
          0,
          node.shards.length,
          ...node.shards.filter(({ meta }) => stripeIdHex(meta.stripeId) === stripeIdHex(first.stripeId)),
        );
      }
      assert.deepEqual(take(await get(key, { blobLength: 100_000 })), a);
    });

    it('is no hit until all shards of its own bytes are there, and completes them', async () => {
      const data = bytesOf(100_000, 1);
      const first = await put(key, data);
      owner(first, 3).shards.length = 0;
      const again = await put(key, data);
      assert.equal(again.hit, false);
      assert.equal(owner(first, 3).shards.length, 1);
      assert.equal((await put(key, data)).hit, true);
    });
  });

  it('finds blobs of the previous epoch after the map changed', async () => {
    const data = bytesOf(60_000);
    const stored: BlobKey[] = [];
    for (let at = 0; at < 20; at++) stored.push((await put(keyOf(`old ${at}`), data)).key);
    cluster.maps.set(sampleMap(sampleNodes(9), 2));
    for (const key of stored) assert.deepEqual(take(await get(key, { blobLength: data.length })), data);
    assert.ok(cluster.maps.current().nodes.length === 9);
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
          cluster = new FakeCluster(6, realClock, seed);
          const apply = (key: BlobKey): void => {
            cluster.all().forEach((node, at) => {
              if (before[at] === 'dead') node.kill();
              if (before[at] === 'slow') node.delayMs = 3;
              if (before[at] === 'corrupt') node.corrupt(key);
              if (before[at] === 'wiped') node.wipe();
            });
          };
          cluster.all().forEach((node, at) => {
            node.full = before[at] === 'full';
          });
          const data = bytesOf(length, seed);
          using deadline = cluster.deadline();
          let acknowledged = false;
          const key = keyOf(`random ${seed}`);
          try {
            await cluster.client.put({ key, data, policy: EC, deadline, tooFewNodes: 'refuse' });
            acknowledged = true;
          } catch (err) {
            assert.ok(NabuError.is(err, 'NOT_ENOUGH_NODES', 'DEVICE_FULL'));
          }
          apply(key);
          try {
            assert.deepEqual(take(await get(key, { blobLength: length })), data);
          } catch (err) {
            assert.ok(NabuError.is(err, 'BLOB_UNREADABLE', 'BLOB_UNKNOWN', 'BLOB_LOST', 'BLOB_NOT_FOUND'), String(err));
            if (acknowledged) assert.notEqual(err.code, 'BLOB_NOT_FOUND', 'an acknowledged blob was said to be absent');
          }
          cluster.close();
        },
      ),
      { numRuns: 150 },
    );
  }).timeout(20_000);

  it('keeps no slab memory after an error', async () => {
    const slots = cluster.slab.slots;
    for (const node of cluster.all().slice(0, 4)) node.kill();
    using deadline = cluster.deadline(30);
    await assert.rejects(cluster.client.put({ key: keyOf('w'), data: bytesOf(5000), policy: EC, deadline }));
    await assert.rejects(get(keyOf('w'), { blobLength: 5000 }));
    assert.equal(cluster.slab.slots, slots);
  });

  it('refuses a stripe that is laid out for another policy, and a blob above 64 MiB', async () => {
    using deadline = cluster.deadline();
    const stripe = await cluster.client.allocStripe(EC, 5000, deadline);
    const request = { key: blobKey(randomBytes(32)), stripe, policy: parsePolicy('ec:2+1'), deadline };
    await assert.rejects(cluster.client.putStripe(request), { code: 'INVALID_ARGUMENT' });
    stripe.release();
    await assert.rejects(cluster.client.allocStripe(EC, (64 << 20) + 1, deadline), { code: 'INVALID_ARGUMENT' });
  });
});
