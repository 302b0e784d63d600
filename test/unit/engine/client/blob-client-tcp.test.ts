import assert from 'node:assert/strict';
import { Deadline } from '../../../../common/concurrency/index.ts';
import { silentLogger } from '../../../../common/logging/index.ts';
import { realClock, realRandom, SeededRandom } from '../../../../common/ports/index.ts';
import { contentKey, type NodeId, parsePolicy } from '../../../../engine/blob/index.ts';
import { BlobClient } from '../../../../engine/client/index.ts';
import { NodeMap, StorNode } from '../../../../engine/node/index.ts';
import { type ClusterMap, parseClusterMap } from '../../../../engine/placement/index.ts';
import { Slab } from '../../../../engine/slab/index.ts';
import { type Listener, TcpTransport } from '../../../../engine/transport/index.ts';
import { blankDisk } from '../../../sim/sim-disk.ts';
import { SimStore } from '../../../sim/sim-store.ts';
import { FakeMaps } from './fake-cluster.ts';

const CLUSTER = '07'.repeat(16);
const EC = parsePolicy('ec:4+2');

function mapOf(ports: readonly number[], epoch: number): ClusterMap {
  const nodes = ports.map((port, at) => ({
    id: `n${at}`,
    address: { host: '127.0.0.1', port },
    domain: { zone: 'z', rack: 'r', host: `n${at}` },
    weight: 1,
    state: 'up',
  }));
  return parseClusterMap({ clusterId: CLUSTER, epoch, nodes }, 'test');
}

describe('blob client over tcp', () => {
  const slab = Slab.create({ sizeBytes: 64 << 20, hugePages: 'no' });
  let listeners: Listener[];
  let client: BlobClient;
  let maps: FakeMaps;
  let nodeMaps: NodeMap[];

  beforeEach(async () => {
    listeners = [];
    nodeMaps = [];
    for (let at = 0; at < 6; at++) {
      const store = new SimStore({
        slab: slab.buffer,
        disk: blankDisk(1n, 0n, true),
        nodeId: `n${at}`,
        clusterId: Buffer.from(CLUSTER, 'hex'),
        clock: realClock,
        random: realRandom,
        flushMs: 1,
        setOwnerMs: 1,
      });
      const map = new NodeMap(mapOf([], 1));
      nodeMaps.push(map);
      const node = new StorNode({ store, slab, map, clock: realClock, logger: silentLogger });
      const transport = new TcpTransport({ slab, clock: realClock, logger: silentLogger });
      listeners.push(await transport.listen({ host: '127.0.0.1', port: 0 }, node.handle, node.hello));
    }
    maps = new FakeMaps(
      mapOf(
        listeners.map((listener) => listener.address.port),
        1,
      ),
    );
    client = new BlobClient({
      slab,
      transport: new TcpTransport({ slab, clock: realClock, logger: silentLogger }),
      maps,
      clock: realClock,
      random: new SeededRandom(1),
      logger: silentLogger,
      limits: { firstRetryMs: 10, lastRetryMs: 50 },
    });
  });

  afterEach(async () => {
    client.close();
    await Promise.all(listeners.map((listener) => listener.close()));
  });

  const deadline = (): Deadline => new Deadline({ clock: realClock, operation: 'test', timeoutMs: 30_000 });

  it('puts and gets over six nodes, also when two of them are gone', async () => {
    using until = deadline();
    const data = Buffer.from(new SeededRandom(3).bytes(1_000_000));
    const before = slab.slots;
    const { key, nodes } = await client.put({ key: 'content', data, policy: EC, deadline: until });
    assert.deepEqual(Buffer.from(key), Buffer.from(contentKey(data)));
    for (let gone = 0; gone < 3; gone++) {
      const got = await client.get({ key, policy: EC, blobLength: data.length, deadline: until });
      assert.ok(data.equals(got.slot.bytes.subarray(got.offset, got.offset + got.length)));
      assert.equal(got.decoded, gone > 0);
      got.slot.release();
      const next = listeners[Number(nodes[gone]?.slice(1))];
      await next?.close();
    }
    await assert.rejects(client.get({ key, policy: EC, blobLength: data.length, deadline: until }), {
      code: 'BLOB_UNREADABLE',
    });
    client.close();
    await Promise.all(listeners.map((listener) => listener.close()));
    assert.equal(slab.slots, before);
  });

  it('has many small reads in flight at once', async () => {
    using until = deadline();
    const data = Buffer.from(new SeededRandom(4).bytes(1 << 20));
    const { key } = await client.put({ key: 'content', data, policy: EC, deadline: until });
    const random = new SeededRandom(5);
    const reads = Array.from({ length: 500 }, async () => {
      const offset = (random.uint32() % 256) * 4096;
      const range = { offset, length: 4096 };
      const got = await client.get({ key, policy: EC, blobLength: data.length, range, deadline: until });
      assert.ok(
        data.subarray(offset, offset + 4096).equals(got.slot.bytes.subarray(got.offset, got.offset + got.length)),
      );
      got.slot.release();
    });
    await Promise.all(reads);
  });

  it('hears of a newer map from the nodes', async () => {
    using until = deadline();
    const hinted = new Promise<number>((resolve) => {
      Object.assign(maps, { hint: resolve });
    });
    for (const map of nodeMaps)
      map.adopt(
        mapOf(
          listeners.map((listener) => listener.address.port),
          7,
        ),
      );
    await client.put({ key: 'content', data: Buffer.alloc(10), policy: EC, deadline: until });
    assert.equal(await hinted, 7);
  });

  it('takes a node whose connection closed for dead', async () => {
    using until = deadline();
    const id = 'n0' as NodeId;
    assert.ok(client.nodes().isUsable(id));
    const port = listeners[0]?.address.port ?? 0;
    await client.nodes().call(id).ping({ deadline: until });
    await listeners[0]?.close();
    await assert.rejects(client.nodes().call(id).ping({ deadline: until }), { code: 'UNAVAILABLE' });
    assert.equal(client.nodes().isUsable(id), false);
    assert.ok(port > 0);
  });
});
