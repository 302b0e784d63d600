import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLogger } from '../../../../common/logging/index.ts';
import { realClock, SeededRandom } from '../../../../common/ports/index.ts';
import type { Epoch } from '../../../../engine/blob/index.ts';
import { ControlClient, MapFollower } from '../../../../engine/control/index.ts';
import type { ClusterMap } from '../../../../engine/placement/index.ts';
import { CALL, type ControlFixture, sampleRegistration, startControl } from './fixture.ts';

describe('map follower', () => {
  let control: ControlFixture;
  let follower: MapFollower | undefined;

  beforeEach(async () => {
    control = await startControl();
    await control.addNodes(2);
  });

  afterEach(async () => {
    await follower?.close();
    follower = undefined;
    await control.close();
  });

  const start = async (client: Pick<ControlClient, 'getMap' | 'watchMap'> = control.client): Promise<MapFollower> => {
    follower = await MapFollower.start(
      {
        control: client,
        cachePath: join(control.folder, 'client', 'map.json'),
        clock: realClock,
        random: new SeededRandom(1),
        logger: silentLogger,
      },
      AbortSignal.timeout(3000),
    );
    return follower;
  };

  const nextMap = (source: MapFollower): Promise<ClusterMap> =>
    new Promise((resolve) => {
      const stop = source.onChange((map) => {
        stop();
        resolve(map);
      });
    });

  it('has the map when it starts, and each new one soon after', async () => {
    const maps = await start();
    assert.equal(maps.current().nodes.length, 2);
    const changed = nextMap(maps);
    await control.client.registerNode(sampleRegistration('n9', 7009), CALL);
    assert.equal((await changed).nodes.length, 3);
    assert.equal(maps.current().nodes.length, 3);
  });

  it('starts from the last map when control is away, and follows again when it is back', async () => {
    await (await start()).close();
    const address = { kind: 'unix', path: join(control.folder, 'control.sock') } as const;
    control.client.close();
    await control.server.close(100);
    const client = new ControlClient(address);
    const maps = await start(client);
    assert.equal(maps.current().nodes.length, 2);
    control = await control.restart();
    const changed = nextMap(maps);
    await control.client.registerNode(sampleRegistration('n9', 7009), CALL);
    assert.equal((await changed).nodes.length, 3);
    client.close();
  });

  it('fetches the map when a peer has a newer one', async () => {
    const silent = {
      getMap: control.client.getMap.bind(control.client),
      watchMap: (_epoch: number, signal: AbortSignal) => untilAborted(signal),
    };
    const maps = await start(silent);
    await control.client.registerNode(sampleRegistration('n9', 7009), CALL);
    const changed = nextMap(maps);
    maps.hint((maps.current().epoch + 1) as Epoch);
    assert.equal((await changed).nodes.length, 3);
  });

  it('does not take the map of another cluster, or an older one', async () => {
    const maps = await start();
    const before = maps.current();
    const path = join(control.folder, 'client', 'map.json');
    await maps.close();
    await writeFile(path, JSON.stringify({ ...before, clusterId: 'f'.repeat(32), epoch: before.epoch + 5 }));
    const foreign = await start();
    await control.client.registerNode(sampleRegistration('n9', 7009), CALL);
    assert.equal(foreign.current().clusterId, 'f'.repeat(32));
    assert.equal(foreign.current().nodes.length, 2);
  });

  it('says so when the kept map cannot be read', async () => {
    await (await start()).close();
    const path = join(control.folder, 'client', 'map.json');
    await writeFile(path, (await readFile(path, 'utf8')).slice(0, 40));
    await assert.rejects(start(), { code: 'FILE_INVALID' });
  });

  it('gives up waiting for a first map when it is told to', async () => {
    const client = new ControlClient({ kind: 'unix', path: join(control.folder, 'nobody.sock') });
    const options = {
      control: client,
      cachePath: join(control.folder, 'other.json'),
      clock: realClock,
      random: new SeededRandom(1),
      logger: silentLogger,
    };
    await assert.rejects(MapFollower.start(options, AbortSignal.timeout(250)));
    client.close();
  });
});

/** A stream that hangs. */
async function* untilAborted(signal: AbortSignal): AsyncGenerator<ClusterMap> {
  await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
}
