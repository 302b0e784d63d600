import assert from 'node:assert/strict';
import { NabuError } from '../../../common/errors/index.ts';
import { SeededRandom } from '../../../common/ports/index.ts';
import { ControlProcess } from './control-process.ts';

const CALL = { timeoutMs: 15_000 };
const ROUNDS = 8;
const LANES = 16;

/** What a caller may get while control dies under it: the outcome is not known, and the request may be repeated. */
function isLost(err: unknown): boolean {
  return NabuError.is(err, 'UNAVAILABLE', 'TIMEOUT', 'CANCELLED');
}

describe('control as a process', function () {
  this.timeout(180_000);
  let control: ControlProcess;

  beforeEach(async () => {
    control = await ControlProcess.start();
    for (let at = 0; at < 6; at++) {
      const address = { host: '127.0.0.1', port: 7000 + at };
      await control.client.registerNode({ nodeId: `n${at}`, address, capacityBytes: 1n << 40n }, CALL);
    }
  });

  afterEach(async () => {
    await control.close();
  });

  it('loses no volume, delete or attach generation that it answered for, over SIGKILL at random points under load', async () => {
    const random = new SeededRandom(21);
    /** What was acknowledged: id by name, and the generation. Names are created once, so that nothing is ambiguous. */
    const alive = new Map<string, { readonly id: string; readonly generation: bigint }>();
    const deleted = new Set<string>();
    let name = 0;

    const lane = async (stopped: () => boolean): Promise<void> => {
      while (!stopped()) {
        const own = `v${name++}`;
        try {
          const { id } = await control.client.createVolume({ name: own, sizeBytes: 1 << 20 }, CALL);
          alive.set(own, { id, generation: 0n });
          if (name % 3 === 0) {
            const { generation } = await control.client.attachVolume({ id, nodeName: 'a' }, CALL);
            alive.set(own, { id, generation });
          } else if (name % 3 === 1) {
            alive.delete(own); // from here on its fate is open until the delete is answered
            if (await control.client.deleteVolume(id, CALL)) deleted.add(id);
          }
        } catch (err) {
          if (!isLost(err)) throw err;
        }
      }
    };

    for (let round = 0; round < ROUNDS; round++) {
      let stopped = false;
      const lanes = Array.from({ length: LANES }, () => lane(() => stopped));
      const target = alive.size + 20 + (random.uint32() % 200);
      while (alive.size < target) await new Promise((resolve) => setImmediate(resolve));
      await control.stop('SIGKILL');
      stopped = true;
      await Promise.all(lanes);
      await control.start();
    }

    for (const [own, { id, generation }] of alive) {
      const volume = await control.client.getVolumeByName(own, CALL);
      assert.equal(volume.id, id);
      assert.ok(volume.generation >= generation);
    }
    for (const id of deleted) await assert.rejects(control.client.getVolume(id, CALL), { code: 'VOLUME_NOT_FOUND' });
    assert.ok(alive.size > ROUNDS * 20 && deleted.size > ROUNDS);
    const listed = new Set<string>();
    for (let pageToken = ''; ; ) {
      const page = await control.client.listVolumes({ pageToken, limit: 500 }, CALL);
      for (const volume of page.volumes) {
        assert.ok(!listed.has(volume.name), 'two volumes have one name');
        listed.add(volume.name);
      }
      pageToken = page.nextPageToken;
      if (pageToken === '') break;
    }
    const { reservedBytes } = await control.client.getCapacity('', CALL);
    assert.equal(reservedBytes, BigInt(listed.size) * BigInt(1.5 * 2 ** 20));
  });

  it('ends in order at SIGTERM, and refuses a second process on its folder', async () => {
    assert.notEqual(await control.exitCodeOfSecond(), 0);
    assert.equal((await control.client.health(CALL)).ready, true);
    assert.equal(await control.stop('SIGTERM'), 0);
  });
});
