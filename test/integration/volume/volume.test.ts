import assert from 'node:assert/strict';
import { SeededRandom } from '../../../common/ports/index.ts';
import { DirectVolume } from './direct-volume.ts';

const BLOCK = 4096;
const MIB = 1 << 20;

describe('a volume over its log', () => {
  let direct: DirectVolume;

  afterEach(async () => {
    await direct.dispose();
  });

  it('reads back what was written, from the ring, the cache and the log', async () => {
    direct = new DirectVolume();
    await direct.open();
    const bytes = Buffer.from(new SeededRandom(7).bytes(3 * MIB));
    await direct.write(5 * BLOCK, bytes);
    assert.deepEqual(await direct.read(5 * BLOCK, bytes.length), bytes);
    await direct.flush();
    assert.deepEqual(await direct.read(5 * BLOCK, bytes.length), bytes);
    assert.deepEqual(await direct.read(0, BLOCK), Buffer.alloc(BLOCK));
    await direct.losePower();
    await direct.open();
    assert.deepEqual(await direct.read(5 * BLOCK, bytes.length), bytes);
  });

  it('has every flushed write after the machine died, and every completed one after the server died', async () => {
    direct = new DirectVolume();
    await direct.open();
    const first = Buffer.alloc(BLOCK, 1);
    const second = Buffer.alloc(BLOCK, 2);
    await direct.write(0, first);
    await direct.flush();
    await direct.write(BLOCK, second);
    await direct.crashServer();
    await direct.open();
    assert.deepEqual(await direct.read(0, BLOCK), first);
    assert.deepEqual(await direct.read(BLOCK, BLOCK), second);
    await direct.flush();
    await direct.losePower();
    await direct.open();
    assert.deepEqual(await direct.read(BLOCK, BLOCK), second);
  });

  it('knows after a server crash what was written, without looking for it on the nodes', async () => {
    direct = new DirectVolume();
    await direct.open();
    for (let i = 0; i < 30; i++) {
      await direct.write(i * BLOCK, Buffer.alloc(BLOCK, i + 1));
      await direct.flush();
      if (i % 10 !== 5) continue;
      await direct.crashServer();
      const { status } = await direct.open();
      assert.equal(status.replayed, 0);
      assert.equal(status.resumed, i + 1);
    }
    for (let i = 0; i < 30; i++) assert.deepEqual(await direct.read(i * BLOCK, BLOCK), Buffer.alloc(BLOCK, i + 1));
    await direct.losePower();
    const { status } = await direct.open();
    assert.deepEqual([status.replayed, status.resumed], [30, 0]);
  });

  it('believes nothing that it knew when another machine has had the volume since', async () => {
    direct = new DirectVolume();
    await direct.open();
    await direct.write(0, Buffer.alloc(BLOCK, 1));
    await direct.flush();
    await direct.crashServer();
    const there = direct;
    await there.elsewhere(async () => {
      await there.write(0, Buffer.alloc(BLOCK, 2));
      await there.flush();
    });
    const { status } = await direct.open();
    assert.deepEqual([status.replayed, status.resumed], [2, 0]);
    assert.deepEqual(await direct.read(0, BLOCK), Buffer.alloc(BLOCK, 2));
  });

  it('writes and reads with two of six nodes away', async () => {
    direct = new DirectVolume();
    await direct.open();
    const before = Buffer.from(new SeededRandom(1).bytes(MIB));
    await direct.write(0, before);
    await direct.flush();
    const [one, two, three] = direct.cluster.nodes;
    assert.ok(one && two && three);
    direct.cluster.crash(one);
    direct.cluster.crash(two);
    const after = Buffer.from(new SeededRandom(2).bytes(MIB));
    await direct.write(MIB, after);
    await direct.flush();
    await direct.losePower();
    await direct.open();
    assert.deepEqual(await direct.read(0, MIB), before);
    assert.deepEqual(await direct.read(MIB, MIB), after);
  });

  it('cannot be opened while its fence cannot be established, and says which nodes it needs', async () => {
    direct = new DirectVolume();
    await direct.open();
    await direct.write(0, Buffer.alloc(BLOCK, 9));
    await direct.flush();
    await direct.losePower();
    const gone = direct.cluster.nodes.slice(0, 3);
    for (const node of gone) direct.cluster.crash(node);
    await assert.rejects(direct.open(1500), (err: { code?: string; fields?: { nodes?: string[] } }) => {
      assert.equal(err.code, 'VOLUME_OPEN_BLOCKED');
      assert.deepEqual([...(err.fields?.nodes ?? [])].sort(), [...gone].sort());
      return true;
    });
    const [first] = gone;
    assert.ok(first);
    direct.cluster.start(first);
    await direct.open();
    assert.deepEqual(await direct.read(0, BLOCK), Buffer.alloc(BLOCK, 9));
  });

  it('opens from its checkpoint after a clean close, with what was written since then replayed', async () => {
    direct = new DirectVolume();
    await direct.open();
    const bytes = Buffer.from(new SeededRandom(3).bytes(6 * MIB));
    await direct.write(0, bytes);
    await direct.close();
    const volume = await direct.open();
    assert.notEqual(volume.status.checkpointSequence, 0n);
    assert.deepEqual(await direct.read(0, bytes.length), bytes);
    await direct.write(MIB, Buffer.alloc(BLOCK, 5));
    await direct.trim(2 * MIB, MIB);
    await direct.flush();
    await direct.losePower();
    await direct.open();
    const expected = Buffer.from(bytes);
    expected.fill(5, MIB, MIB + BLOCK);
    expected.fill(0, 2 * MIB, 3 * MIB);
    assert.deepEqual(await direct.read(0, bytes.length), expected);
  });

  it('gives up space that overwrites made dead, and stays below its bound of amplification', async function () {
    this.timeout(60_000);
    direct = new DirectVolume({
      sizeBytes: 64 * MIB,
      limits: { cleaning: { amplification: 1.4, slackBlocks: 1024, utilisation: 0.85 } },
    });
    const volume = await direct.open();
    const random = new SeededRandom(5);
    const model = Buffer.alloc(16 * MIB);
    const chunk = 64 * 1024;
    for (let round = 0; round < 12; round++) {
      for (let i = 0; i < 96; i++) {
        const offset = (random.uint32() % (model.length / chunk)) * chunk;
        const bytes = Buffer.from(random.bytes(chunk));
        bytes.copy(model, offset);
        await direct.write(offset, bytes);
      }
      await direct.flush();
      using deadline = direct.deadline();
      await volume.checkpoint(deadline);
      while (await volume.clean(deadline)) assert.equal(deadline.expired, false);
      const { liveBlocks, totalBlocks } = volume.status.stats;
      assert.ok(totalBlocks <= liveBlocks * 1.5 + 2048, `${totalBlocks} blocks in the log, ${liveBlocks} alive`);
    }
    assert.deepEqual(await direct.read(0, model.length), model);
    await direct.losePower();
    await direct.open();
    assert.deepEqual(await direct.read(0, model.length), model);
  });

  it('stops for good when another opener has fenced it', async () => {
    direct = new DirectVolume();
    await direct.open();
    await direct.write(0, Buffer.alloc(BLOCK, 1));
    await direct.flush();
    const old = direct.volume;
    direct.volume = undefined;
    await direct.losePower();
    const newer = await direct.open();
    direct.volume = old;
    const failed = direct.failed();
    await direct.write(0, Buffer.alloc(BLOCK, 2));
    const flushed = direct.flush().then(
      () => 'flushed',
      () => 'refused',
    );
    const err = await failed;
    assert.equal(err.code, 'FENCED');
    assert.equal(old?.status.state, 'failed');
    await old?.abandon();
    assert.equal(await flushed, 'refused');
    direct.volume = newer;
  });
});
