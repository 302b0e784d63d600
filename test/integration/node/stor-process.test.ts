import assert from 'node:assert/strict';
import { readFile, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { NabuError } from '../../../common/errors/index.ts';
import { layoutOf } from '../../../common/layout/index.ts';
import { realClock, SeededRandom } from '../../../common/ports/index.ts';
import { ownerOf, volumeId } from '../../../engine/blob/index.ts';
import { type AgedNodeReport, ControlClient } from '../../../engine/control/index.ts';
import { verifyBlocks } from '../../../engine/ec/index.ts';
import { ANY_SHARD, type RemoteNode, SHARD_FLAG } from '../../../engine/protocol/index.ts';
import { payloadOf } from '../../../engine/transport/index.ts';
import { keyOf, shardOf } from '../../support/memory-node.ts';
import { StorCluster } from './stor-cluster.ts';

const KILLS = 8;
const WRITERS = 8;
const OWNER = volumeId('5c'.repeat(16));
const ANY = { stripeId: null, shardIndex: ANY_SHARD, rangeOffset: 0, rangeLength: 0 };

describe('nabu stor', function () {
  this.timeout(120_000);
  let cluster: StorCluster;
  beforeEach(async () => {
    cluster = await StorCluster.make();
  });
  afterEach(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  const options = () => ({ deadline: cluster.deadline });
  const put = async (node: RemoteNode, n: number, length: number, fields: Parameters<typeof shardOf>[3] = {}) => {
    const { shard, slot } = shardOf(cluster.slab, n, length, fields);
    try {
      return await node.putShard(shard, options());
    } finally {
      slot.release();
    }
  };
  const readBack = async (node: RemoteNode, n: number, length: number): Promise<void> => {
    const slot = cluster.slab.alloc(Math.ceil(length / 4096) * 4096);
    try {
      const read = await node.readShard({ key: keyOf(n), ...ANY }, () => payloadOf(slot), options());
      assert(read.status === 'ok', `shard ${n} is ${read.status}`);
      assert.equal(verifyBlocks(cluster.slab.buffer, slot.offset, slot.lengthBytes, read.crcs), -1);
      assert.equal(slot.bytes[length - 1], ((length - 1) * 7 + n) & 0xff);
    } finally {
      slot.release();
    }
  };
  const whole = async (node: RemoteNode): Promise<Record<string, never>> =>
    JSON.parse(JSON.stringify(await node.stats(options())));

  it('measures how busy it is and how far its peers are, and tells control', async () => {
    cluster.startControl();
    cluster.startNode('node-1', ['--zone', 'a', '--report-ms', '200']);
    cluster.startNode('node-2', ['--zone', 'b', '--rack', 'r2', '--report-ms', '200']);
    const { node, connection } = await cluster.connect('node-1');
    const control = new ControlClient({ kind: 'unix', path: layoutOf(cluster.dir).controlSocket });
    try {
      const told = async (): Promise<AgedNodeReport['report'] | undefined> =>
        (await control.listNodeReports({ timeoutMs: 10_000 })).find(({ nodeId }) => nodeId === 'node-1')?.report;
      await cluster.until(async () => ((await told())?.roundTrips.length ?? 0) > 0);
      const trips = (await told())?.roundTrips ?? [];
      assert.deepEqual(
        trips.map(({ zone, rack }) => [zone, rack]),
        [
          ['b', ''],
          ['b', 'r2'],
        ],
      );
      assert(trips.every(({ microseconds }) => microseconds < 100_000));
      // The first report has the start in it, which is no idle moment.
      let idle = 1;
      await cluster.until(async () => {
        idle = (await told())?.load ?? 1;
        return idle < 0.3;
      });
      let isDone = false;
      const busy = Promise.all(
        Array.from({ length: 256 }, async () => {
          while (!isDone) await node.ping(options());
        }),
      );
      await cluster.until(async () => ((await told())?.load ?? 0) > idle + 0.2);
      isDone = true;
      await busy;
      connection.close();
    } finally {
      control.close();
    }
  });

  it('stores, finds, reads and deletes shards over tcp, and starts again where it was', async () => {
    cluster.startControl();
    cluster.startNode('node-1');
    const first = await cluster.connect('node-1');
    assert.equal(await put(first.node, 1, 200_000), 'stored');
    assert.equal(await put(first.node, 2, 10), 'stored');
    await readBack(first.node, 1, 200_000);
    await first.node.delete([keyOf(2)], (BigInt(realClock.nowMs()) << 16n) + 1n, options());
    await cluster.until(async () => (await first.node.getMap(options())).nodes.length === 1);
    const record = JSON.parse(await readFile(layoutOf(cluster.dir).node('node-1').record, 'utf8'));
    assert.equal(record.host, '127.0.0.1');

    assert.equal(await cluster.end('node-1', 'SIGTERM'), 0);
    assert(NabuError.is(await first.connection.closed, 'UNAVAILABLE'));
    await cluster.end('control', 'SIGTERM');
    cluster.startNode('node-1'); // control is away: the last map counts
    const second = await cluster.connect('node-1');
    assert.equal(second.connection.peer.deviceId, first.connection.peer.deviceId);
    assert.equal(second.connection.peer.incarnation, first.connection.peer.incarnation);
    const readRecord = async () => JSON.parse(await readFile(layoutOf(cluster.dir).node('node-1').record, 'utf8'));
    await cluster.until(async () => (await readRecord()).pid !== record.pid);
    assert.equal((await readRecord()).port, record.port);
    await readBack(second.node, 1, 200_000);
    const [, deleted] = await second.node.lookup([keyOf(1), keyOf(2)], 0n, options());
    assert.equal(deleted?.state, 'absent');
    assert.equal((await second.node.getMap(options())).nodes.length, 1);
  });

  it(`keeps every shard that it acknowledged through ${KILLS} SIGKILLs under load`, async () => {
    cluster.startControl();
    const random = new SeededRandom(7);
    const kept = new Map<number, number>();
    let next = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      cluster.startNode('node-1');
      const { node } = await cluster.connect('node-1');
      for (const [n, length] of kept) await readBack(node, n, length);
      const enough = kept.size + 10 + (random.uint32() % 30);
      const writers = Array.from({ length: WRITERS }, async () => {
        for (;;) {
          const n = next++;
          const length = 1 + (random.uint32() % 50_000);
          assert.equal(await put(node, n, length), 'stored');
          kept.set(n, length);
        }
      });
      const stopped = Promise.allSettled(writers);
      await cluster.until(async () => kept.size >= enough);
      await cluster.end('node-1', 'SIGKILL');
      for (const result of await stopped) {
        assert(
          result.status === 'rejected' && NabuError.is(result.reason, 'UNAVAILABLE'),
          String(Reflect.get(result, 'reason')),
        );
      }
    }
    cluster.startNode('node-1');
    const { node } = await cluster.connect('node-1');
    for (const [n, length] of kept) await readBack(node, n, length);
    assert(kept.size > KILLS * 10);
  });

  it('forgets nothing by being emptied: log blobs wait until the fences of its peers are copied', async () => {
    const ids = ['node-1', 'node-2', 'node-3', 'node-4'];
    cluster.startControl();
    for (const id of ids) cluster.startNode(id);
    const nodes = new Map<string, RemoteNode>();
    for (const id of ids) nodes.set(id, (await cluster.connect(id)).node);
    const control = new ControlClient({ kind: 'unix', path: layoutOf(cluster.dir).controlSocket });
    try {
      const { signal } = cluster.deadline;
      await cluster.until(async () => (await control.getMap({ timeoutMs: 5_000, signal })).nodes.length === 4);
      await cluster.until(async () => {
        const all = await Promise.all([...nodes.values()].map((node) => node.listOwners(undefined, 1, options())));
        return all.every(({ fencesComplete }) => fencesComplete); // genesis
      });
      await control.createVolume({ name: 'v', sizeBytes: 1n << 20n, policy: 'ec:2+1' }, { timeoutMs: 5_000, signal });
    } finally {
      control.close();
    }
    const fence = { generation: 5n, incarnation: 0n };
    for (const id of ids.slice(1)) await nodes.get(id)?.setOwner(OWNER, { fence, homeSetVersion: 1n }, options());

    await cluster.end('node-1', 'SIGKILL');
    await cluster.end('node-4', 'SIGKILL');
    await rm(layoutOf(cluster.dir).node('node-1').device);
    cluster.startNode('node-1');
    const { node: emptied, connection } = await cluster.connect('node-1');
    assert.equal(connection.peer.fencesComplete, false);
    const stale = {
      flags: SHARD_FLAG.log,
      owner: ownerOf(OWNER),
      writer: { generation: 4n, incarnation: 9n },
      sequence: 1n,
    };
    await assert.rejects(put(emptied, 1, 100, stale), (err) => NabuError.is(err, 'FENCES_INCOMPLETE'));
    assert.equal(await put(emptied, 2, 100), 'stored');
    await cluster.until(async () => /of 3 peers/.test(JSON.stringify((await whole(emptied)).fences)));
    cluster.startNode('node-4');
    await cluster.until(async () => (await emptied.listOwners(undefined, 1, options())).fencesComplete);
    await assert.rejects(put(emptied, 1, 100, stale), (err) => NabuError.is(err, 'FENCED'));
    assert.deepEqual((await emptied.getOwner(OWNER, options()))?.fence, fence);
  });

  it('lives on when its port is fed garbage', async () => {
    cluster.startControl();
    cluster.startNode('node-1');
    const { node, connection } = await cluster.connect('node-1');
    const { host, port } = JSON.parse(await readFile(layoutOf(cluster.dir).node('node-1').record, 'utf8'));
    const random = new SeededRandom(3);
    for (let i = 0; i < 200; i++) {
      await new Promise<void>((resolve) => {
        const socket = connect({ host, port }, () => socket.end(random.bytes(1 + (random.uint32() % 2000))));
        socket.resume();
        socket.once('error', () => undefined);
        socket.once('close', () => resolve());
      });
    }
    assert.equal(await put(node, 1, 5000), 'stored');
    connection.close();
  });

  it('runs once per node: a second process on the same folder says who holds it', async () => {
    cluster.startControl();
    cluster.startNode('node-1');
    await cluster.connect('node-1');
    const other = await StorCluster.make();
    try {
      other.startNode('node-1', ['--dir', cluster.dir]);
      assert.notEqual(await other.waitForExit('node-1'), 0);
      assert.match(other.logOf('node-1'), /LOCK_HELD|is held by process/);
    } finally {
      await other[Symbol.asyncDispose]();
    }
  });

  it('refuses options that cannot be, by name, and touches nothing', async () => {
    cluster.startNode('node-1', ['--port', '99999']);
    assert.notEqual(await cluster.waitForExit('node-1'), 0);
    assert.match(cluster.logOf('node-1'), /port/);
    await assert.rejects(stat(layoutOf(cluster.dir).nodes));
  });
});
