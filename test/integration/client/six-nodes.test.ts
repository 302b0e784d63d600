import assert from 'node:assert/strict';
import { Deadline } from '../../../common/concurrency/index.ts';
import { realClock, SeededRandom } from '../../../common/ports/index.ts';
import { type BlobKey, parsePolicy } from '../../../engine/blob/index.ts';
import type { GetResult } from '../../../engine/client/index.ts';
import { NODES, SixNodes } from './six-nodes.ts';

const EC = parsePolicy('ec:4+2');
const [FIRST, SECOND, THIRD, FOURTH] = NODES;

describe('blobs on six storage nodes', function () {
  this.timeout(120_000);
  let cluster: SixNodes;

  before(async () => {
    cluster = await SixNodes.start();
  });

  after(async () => {
    await cluster?.close();
  });

  const put = async (data: Buffer): Promise<{ key: BlobKey; nodes: readonly unknown[]; degraded: boolean }> => {
    using deadline = new Deadline({ clock: realClock, operation: 'put', timeoutMs: 20_000 });
    return await cluster.client.put({ key: 'content', data, policy: EC, deadline });
  };

  const get = async (key: BlobKey, blobLength: number, timeoutMs = 20_000): Promise<Buffer> => {
    using deadline = new Deadline({ clock: realClock, operation: 'get', timeoutMs });
    const got: GetResult = await cluster.client.get({ key, policy: EC, blobLength, unreadable: 'wait', deadline });
    const bytes = Buffer.from(got.slot.bytes.subarray(got.offset, got.offset + got.length));
    got.slot.release();
    return bytes;
  };

  it('survive SIGKILL of any two, are written with two dead, and then survive one more', async () => {
    assert.ok(FIRST && SECOND && THIRD);
    const random = new SeededRandom(11);
    const blobs = await Promise.all(
      [1, 4096, 1 << 20, 4 << 20, 3_333_333].map(async (length) => {
        const data = Buffer.from(random.bytes(length));
        return { data, ...(await put(data)) };
      }),
    );
    for (const blob of blobs) assert.equal(blob.degraded, false);
    await Promise.all([cluster.kill(FIRST), cluster.kill(SECOND)]);
    for (const { key, data } of blobs) assert.ok(data.equals(await get(key, data.length)));

    const late = Buffer.from(random.bytes(2_000_000));
    const written = await put(late);
    assert.equal(written.degraded, true);
    assert.equal(new Set(written.nodes).size, 4);
    await cluster.kill(THIRD);
    assert.ok(late.equals(await get(written.key, late.length)));
    await assert.rejects(get(blobs[2]?.key as BlobKey, 1 << 20, 1000), { code: 'BLOB_UNREADABLE' });

    const waiting = get(blobs[2]?.key as BlobKey, 1 << 20);
    await cluster.startNode(FIRST);
    assert.ok(blobs[2]?.data.equals(await waiting), 'a read that waited goes on when a node is back');
    await Promise.all([cluster.startNode(SECOND), cluster.startNode(THIRD)]);
    await cluster.untilReachable(...NODES);
  });

  it('survive SIGKILL of everything at once', async () => {
    const random = new SeededRandom(12);
    const blobs = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const data = Buffer.from(random.bytes(300_000));
        return { data, ...(await put(data)) };
      }),
    );
    await Promise.all(['control', ...NODES].map((name) => cluster.kill(name)));
    await cluster.startControl();
    await Promise.all(NODES.map((id) => cluster.startNode(id)));
    for (const { key, data } of blobs) assert.ok(data.equals(await get(key, data.length)));
  });

  it('are read and written around a node that stands still with its sockets open', async () => {
    assert.ok(FIRST);
    const random = new SeededRandom(15);
    const before = Buffer.from(random.bytes(1_000_000));
    const { key } = await put(before);
    cluster.signal(FIRST, 'SIGSTOP');
    try {
      assert.ok(before.equals(await get(key, before.length)));
      const data = Buffer.from(random.bytes(1_000_000));
      const written = await put(data);
      assert.ok(data.equals(await get(written.key, data.length)));
      assert.ok(!written.nodes.includes(FIRST), 'a node that answers nothing cannot have confirmed');
    } finally {
      cluster.signal(FIRST, 'SIGCONT');
    }
    await cluster.untilReachable(...NODES);
    assert.ok(before.equals(await get(key, before.length)));
  });

  it('are put and read without control', async () => {
    await cluster.kill('control');
    const data = Buffer.from(new SeededRandom(13).bytes(700_000));
    const { key } = await put(data);
    assert.ok(data.equals(await get(key, data.length)));
    await cluster.startControl();
  });

  it('survive the loss of two devices, whose empty successors do not call them absent', async () => {
    assert.ok(THIRD && FOURTH);
    const data = Buffer.from(new SeededRandom(14).bytes(1_500_000));
    const { key } = await put(data);
    await Promise.all([cluster.kill(THIRD), cluster.kill(FOURTH)]);
    await Promise.all([cluster.removeDevice(THIRD), cluster.removeDevice(FOURTH)]);
    await Promise.all([cluster.startNode(THIRD), cluster.startNode(FOURTH)]);
    await cluster.untilReachable(...NODES);
    assert.ok(data.equals(await get(key, data.length)));
    using deadline = new Deadline({ clock: realClock, operation: 'probe', timeoutMs: 10_000 });
    const answers = await cluster.client.probe({ key, nodes: [THIRD, FOURTH], deadline });
    for (const [id, { state }] of answers) assert.equal(state, 'unknown', id);
  });
});
