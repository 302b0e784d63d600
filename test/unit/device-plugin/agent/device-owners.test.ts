import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import { DeviceOwners } from '../../../../device-plugin/agent/device-owners.ts';
import { resourceName } from '../../../../device-plugin/kubelet/index.ts';
import type { PodHolding } from '../../../../device-plugin/pod-resources/index.ts';

const HCA = '0000:1a:00.0';
const RDMA = { resource: resourceName('nabustore.io/rdma'), slots: 4 };
const OTHER = { resource: resourceName('nabustore.io/rdma-other'), slots: 1 };

function holding(resource: string, ...ids: string[]): PodHolding {
  const devices = ids.map((id) => ({ resource, id, numaNodes: [] }));
  const container = { namespace: 'ns', pod: 'p', container: 'c', devices, claims: [] };
  return { namespace: 'ns', name: 'p', containers: [container] };
}

describe('the resource that gives a device out', () => {
  let clock: SimClock;
  let pods: readonly PodHolding[];
  let asked: number;
  let told: number;
  let owners: DeviceOwners;

  beforeEach(() => {
    clock = new SimClock();
    pods = [];
    asked = 0;
    told = 0;
    const list = async (): Promise<readonly PodHolding[]> => {
      asked++;
      return pods;
    };
    owners = new DeviceOwners({ podResources: { list }, clock, logger: silentLogger, pollMs: 1000, settleMs: 3000 });
    owners.watch(() => told++);
  });

  afterEach(async () => {
    await owners.close();
    assert.equal(clock.pendingTimers, 0);
  });

  it('is the first that asks for it, at once', async () => {
    assert.equal(owners.withheld(HCA, RDMA), undefined);
    owners.start();
    await clock.advance(60_000);
    assert.equal(owners.withheld(HCA, RDMA), undefined);
    assert.deepEqual([asked, told], [1, 0]);
  });

  it('changes when no pod has had the device by the one before for a while', async () => {
    owners.withheld(HCA, RDMA);
    pods = [holding(RDMA.resource, `${HCA}-3`)];
    owners.start();
    await clock.advance(1000);
    assert.deepEqual(owners.withheld(HCA, OTHER), {
      code: 'mode',
      detail: `${HCA} was given out as nabustore.io/rdma, and a pod may still have it so`,
    });
    await clock.advance(20_000);
    assert.notEqual(owners.withheld(HCA, OTHER), undefined);
    pods = [holding('nabustore.io/cufile', 'numa0-1'), holding('vendor.example/rdma', `${HCA}-3`)];
    await clock.advance(2000);
    assert.notEqual(owners.withheld(HCA, OTHER), undefined);
    await clock.advance(3000);
    assert.equal(owners.withheld(HCA, OTHER), undefined);
    assert.equal(told, 1);
    const asks = asked;
    await clock.advance(60_000);
    assert.equal(asked, asks);
  });

  it('stays the same when the change is taken back', async () => {
    owners.withheld(HCA, RDMA);
    owners.start();
    await clock.advance(100);
    owners.withheld(HCA, OTHER);
    assert.equal(owners.withheld(HCA, RDMA), undefined);
    await clock.advance(60_000);
    assert.equal(owners.withheld(HCA, RDMA), undefined);
    assert.equal(told, 0);
  });

  it('is the one by which pods have it, when the file was changed while the plugin was away', async () => {
    pods = [holding(OTHER.resource, `${HCA}-0`)];
    assert.equal(owners.withheld(HCA, RDMA), undefined);
    owners.start();
    await clock.advance(100);
    assert.equal(told, 1);
    assert.notEqual(owners.withheld(HCA, RDMA), undefined);
    pods = [];
    await clock.advance(10_000);
    assert.equal(owners.withheld(HCA, RDMA), undefined);
    assert.equal(told, 2);
  });

  it('is known before the first is asked for, where the kubelet answers', async () => {
    pods = [holding(OTHER.resource, `${HCA}-0`)];
    await owners.start();
    assert.notEqual(owners.withheld(HCA, RDMA), undefined);
    pods = [];
    await clock.advance(10_000);
    assert.equal(owners.withheld(HCA, RDMA), undefined);
    assert.deepEqual([told, owners.withheld('0000:3c:00.0', RDMA)], [1, undefined]);
  });

  it('gives a device out more often at once, and more seldom when no pod has what is to go', async () => {
    const slots = (count: number) => ({ ...RDMA, slots: count });
    owners.withheld(HCA, slots(2));
    owners.start();
    assert.equal(owners.withheld(HCA, slots(8)), undefined);
    pods = [holding(RDMA.resource, `${HCA}-0`, `${HCA}-7`)];
    assert.equal(
      owners.withheld(HCA, slots(1))?.detail,
      `${HCA} was given out 8 times, and a pod may still have it so`,
    );
    await clock.advance(20_000);
    assert.notEqual(owners.withheld(HCA, slots(1)), undefined);
    pods = [holding(RDMA.resource, `${HCA}-0`)];
    await clock.advance(10_000);
    assert.equal(owners.withheld(HCA, slots(1)), undefined);
  });
});
