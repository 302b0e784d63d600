import assert from 'node:assert/strict';
import { NabuError } from '../../../../common/errors/index.ts';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import { deviceId, resourceName } from '../../../../device-plugin/kubelet/index.ts';
import type { PodHolding } from '../../../../device-plugin/pod-resources/index.ts';
import { PageHolders } from '../../../../device-plugin/resources/index.ts';

const RESOURCE = resourceName('nabustore.io/hugetlbfs-2Mi');
const UNIT = deviceId('2Mi-numa0-1');

function pod(id: string, hugePages?: Record<string, number>): PodHolding {
  const own = { namespace: 'default', pod: 'p', container: 'c', claims: [] };
  const devices = id === '' ? [] : [{ resource: RESOURCE, id, numaNodes: [0] }];
  return {
    namespace: 'default',
    name: 'p',
    containers: [{ ...own, devices, ...(hugePages === undefined ? {} : { hugePages }) }],
  };
}

describe('who holds huge pages', () => {
  let clock: SimClock;
  let holders: PageHolders;
  let pods: readonly PodHolding[] | Error = [];
  let asked = 0;
  let heard = 0;

  const unitsHeld = (): readonly string[] | undefined => {
    const held = holders.held(RESOURCE, 'hugepages-2Mi');
    return held && [...held.units];
  };

  beforeEach(() => {
    clock = new SimClock();
    pods = [];
    asked = 0;
    heard = 0;
    const list = (): Promise<readonly PodHolding[]> => {
      asked++;
      return pods instanceof Error ? Promise.reject(pods) : Promise.resolve(pods);
    };
    holders = new PageHolders({ podResources: { list }, clock, logger: silentLogger });
    holders.watch(() => heard++);
  });
  afterEach(async () => await holders.close());

  it('is not known before the kubelet has answered', async () => {
    pods = NabuError.of('UNAVAILABLE', { target: 'kubelet', reason: 'gone' });
    holders.start();
    await clock.advance(0);
    assert.equal(unitsHeld(), undefined);
    pods = [pod(UNIT, { 'hugepages-2Mi': 7, 'hugepages-1Gi': 1 })];
    await clock.advance(10_000);
    assert.deepEqual(holders.held(RESOURCE, 'hugepages-2Mi'), {
      units: new Set([UNIT]),
      containers: [{ units: 1, pageBytes: 7 }],
    });
    assert.deepEqual([asked, heard], [2, 1]);
  });

  it('stays what was said last while the kubelet is away', async () => {
    pods = [pod(UNIT)];
    holders.start();
    await clock.advance(0);
    pods = new Error('away');
    await clock.advance(60_000);
    assert.deepEqual(unitsHeld(), [UNIT]);
    assert.equal(heard, 1);
  });

  it('includes what was granted a moment ago, until the kubelet has had time to show it', async () => {
    holders.start();
    await clock.advance(0);
    holders.granted(RESOURCE, [UNIT]);
    assert.deepEqual(unitsHeld(), [UNIT]);
    await clock.advance(5000);
    assert.deepEqual(unitsHeld(), [UNIT], 'the list without it does not count yet');
    await clock.advance(30_000);
    assert.deepEqual(unitsHeld(), []);
  });

  it('is asked soon after a change, and not more often than once a second', async () => {
    holders.start();
    await clock.advance(1500);
    assert.equal(asked, 1);
    holders.nudge();
    await clock.advance(0);
    assert.equal(asked, 2);
    for (let i = 0; i < 30; i++) {
      holders.nudge();
      await clock.advance(100);
    }
    assert.ok(asked >= 4 && asked <= 5, String(asked));
    const before = asked;
    await clock.advance(100_000);
    assert.ok(asked - before >= 10 && asked - before <= 11, String(asked - before));
  });

  it('is asked no more when it is closed', async () => {
    holders.start();
    await clock.advance(0);
    await holders.close();
    holders.nudge();
    await clock.advance(100_000);
    assert.equal(asked, 1);
  });
});
