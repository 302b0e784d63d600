import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parsePolicy } from '../../../../engine/blob/index.ts';
import { localityReportFacts, podFacts, resourceSliceFacts } from '../../../../scheduler-extender/kube/index.ts';
import { needOf } from '../../../../scheduler-extender/need/index.ts';
import { DEFAULT_WEIGHTS, LoadTimes, scoreNode, scoreOf } from '../../../../scheduler-extender/score/index.ts';
import {
  hcaDevice,
  type PodGiven,
  podObject,
  reportObject,
  sliceObject,
  TestCluster,
} from '../../../support/extender/objects.ts';

const RULES = { defaultPolicy: parsePolicy('ec:4+2'), assumedFill: 0.5, nearBytes: 1000 };
const MODEL = { annotations: { 'nabustore.io/models': 'm' } };
const GB = 1e9;

function seconds(cluster: TestCluster, node: string, pod: PodGiven = MODEL): number {
  const need = needOf(podFacts(podObject('p', pod)), cluster.index, RULES);
  return new LoadTimes(need, cluster.index, DEFAULT_WEIGHTS).secondsAt(cluster.slot(node));
}

/** holder; the same rail, rack, zone; another zone. */
function sites(bytes: Readonly<Record<string, number>>, size = 100 * GB): TestCluster {
  return new TestCluster()
    .node('host', { zone: 'a', rack: 'r1', rail: 'l1' })
    .node('rail', { zone: 'a', rack: 'r2', rail: 'l1' })
    .node('rack', { zone: 'a', rack: 'r1', rail: 'l2' })
    .node('zone', { zone: 'a', rack: 'r3', rail: 'l3' })
    .node('far', { zone: 'b', rack: 'r1', rail: 'l1' })
    .model('m', size, bytes);
}

describe('the expected time until the data is there', () => {
  it('is round trips and bytes over bandwidth, by distance', () => {
    const cluster = sites({ host: 100 * GB });
    const { bytesPerSecond, rttS, firstByteTrips } = DEFAULT_WEIGHTS;
    for (const distance of ['host', 'rail', 'rack', 'zone', 'far'] as const) {
      const expected = (100 * GB) / bytesPerSecond[distance] + firstByteTrips * rttS[distance];
      assert(Math.abs(seconds(cluster, distance) - expected) < 1e-9, distance);
    }
  });

  it('takes what is near first and the rest from where it is', () => {
    const cluster = sites({ rack: 30 * GB, zone: 40 * GB });
    // From 'host': 30 in the rack, 40 more in the zone, 30 from elsewhere.
    const load = 30 / 8 + 40 / 4 + 30 / 0.5;
    assert(Math.abs(seconds(cluster, 'host') - load) < 0.01, String(seconds(cluster, 'host')));
  });

  it('never grows with bytes that are nearer, and never shrinks with more to load', () => {
    const amount = fc.integer({ min: 0, max: 100 });
    const holders = fc.record({ host: amount, rail: amount, rack: amount, zone: amount, far: amount });
    const names = fc.constantFrom('host', 'rail', 'rack', 'zone', 'far');
    fc.assert(
      fc.property(holders, names, amount, names, fc.integer({ min: 1, max: 200 }), (held, at, more, node, size) => {
        const gigabytes = (by: Record<string, number>) =>
          Object.fromEntries(Object.entries(by).map(([name, gb]) => [name, gb * GB]));
        const before = seconds(sites(gigabytes(held), size * GB), node);
        const after = seconds(sites(gigabytes({ ...held, [at]: held[at] + more }), size * GB), node);
        assert(after <= before + 1e-9, `${before} -> ${after}`);
        const larger = seconds(sites(gigabytes(held), (size + more) * GB), node);
        assert(larger >= before - 1e-9, `${before} -> ${larger}`);
      }),
      { numRuns: 1000, seed: 41 },
    );
  });

  it('never shrinks with distance from the only holder', () => {
    const cluster = sites({ host: 100 * GB });
    const times = ['host', 'rail', 'rack', 'zone', 'far'].map((node) => seconds(cluster, node));
    assert.deepEqual(
      times,
      [...times].sort((a, b) => a - b),
    );
  });

  it('grows with the load of the link, of storage nodes, and with HCAs that others hold', () => {
    const cluster = sites({ host: 100 * GB });
    const idle = seconds(cluster, 'zone');
    cluster.index.put('link', { node: 'zone', load: 0.5 });
    assert(Math.abs(seconds(cluster, 'zone') / idle - 2) < 0.01);
    cluster.index.remove('link', 'zone');
    assert.equal(seconds(cluster, 'zone'), idle);
    const storage = new TestCluster()
      .storage(['a', 'a', 'a', 'a', 'a', 'a'])
      .node('n', { zone: 'a' })
      .bound('c')
      .record('c', { homeSet: ['s0', 's1'], liveBytes: 100 * GB });
    const before = seconds(storage, 'n', { claims: ['c'] });
    storage.index.put('storageNode', {
      id: 's0',
      host: 'storage-0',
      zone: 'a',
      rack: 'sr0',
      state: 'up',
      capacityBytes: 1,
      load: 0.9,
      rttUs: new Map(),
      cutOffZones: [],
    });
    assert(seconds(storage, 'n', { claims: ['c'] }) > before * 2);
    const hcas = sites({ host: 100 * GB }).node('zone', {
      zone: 'a',
      rack: 'r3',
      allocatable: { 'nabustore.io/rdma': '2' },
    });
    const pod = { ...MODEL, devices: { 'nabustore.io/rdma': 1 } };
    const free = seconds(hcas, 'zone', pod);
    hcas.pod('user', { node: 'zone', devices: { 'nabustore.io/rdma': 1 } });
    assert(seconds(hcas, 'zone', pod) > free);
  });

  it('grows where the HCAs that are asked for are not expected to be free on one NUMA node', () => {
    const cluster = sites({ host: 100 * GB });
    const withHcas = (numaNodes: readonly number[]): void => {
      const devices = numaNodes.map((numaNode) => hcaDevice(numaNode));
      cluster.index.put('slice', resourceSliceFacts(sliceObject('s', 'zone', devices)));
    };
    const wanting = (units: number): number =>
      seconds(cluster, 'zone', { ...MODEL, devices: { 'nabustore.io/rdma': units } });
    withHcas([0, 0, 1, 1]);
    const near = wanting(2);
    assert(
      Math.abs(wanting(4) / near - (1 + (DEFAULT_WEIGHTS.numaSlowdown - 1) / 2)) < 0.01,
      'half of them are across',
    );
    withHcas([0, 0, 0, 1]);
    assert.equal(wanting(3), near);
    cluster.pod('user', { node: 'zone', devices: { 'nabustore.io/rdma': 2 } });
    assert(wanting(2) > near * 1.05, 'one and a half is expected to be free there');
    assert(wanting(1) < wanting(2));
  });

  it('believes what a node reports of its NUMA nodes, less what pods have taken since', () => {
    const cluster = sites({ host: 100 * GB }).node('zone', {
      zone: 'a',
      rack: 'r3',
      allocatable: { 'nabustore.io/rdma': '8' },
    });
    const pod = { ...MODEL, devices: { 'nabustore.io/rdma': 2 } };
    const report = (free: readonly number[]): void => {
      const devices = free.map((units, numaNode) => {
        return { resource: 'nabustore.io/rdma', numaNode, total: 4, free: units };
      });
      cluster.index.put('report', localityReportFacts(reportObject('zone', [], { devices })));
    };
    const unknown = seconds(cluster, 'zone', pod);
    report([4, 4]);
    assert.equal(seconds(cluster, 'zone', pod), unknown);
    report([1, 1]);
    const across = (DEFAULT_WEIGHTS.numaSlowdown - 1) / 2;
    assert(Math.abs(seconds(cluster, 'zone', pod) / unknown - (1 + across)) < 0.01);
    report([2, 4]);
    for (const name of ['a', 'b']) cluster.pod(name, { node: 'zone', devices: { 'nabustore.io/rdma': 2 } });
    const before = seconds(cluster, 'zone', pod);
    cluster.pod('c', { node: 'zone', devices: { 'nabustore.io/rdma': 2 } });
    assert(seconds(cluster, 'zone', pod) > before * 1.1, 'four are in use that the report shows as free');
    cluster.index.remove('report', 'zone');
    assert.equal(cluster.index.numa.units(cluster.slot('zone'), 'nabustore.io/rdma'), undefined);
  });

  it('is limited by the link of the node, and longer through the CPU for those who want a direct path', () => {
    const cluster = sites({ host: 100 * GB });
    const idle = seconds(cluster, 'rack');
    cluster.node('rack', { zone: 'a', rack: 'r1', labels: { 'nabustore.io/rdma.rate-gbps': '10' } });
    assert(seconds(cluster, 'rack') > idle * 6);
    const direct = { ...MODEL, devices: { 'nabustore.io/gds': 1 } };
    const around = seconds(cluster, 'rack', direct);
    cluster.node('rack', {
      zone: 'a',
      rack: 'r1',
      labels: { 'nabustore.io/rdma.rate-gbps': '10', 'nabustore.io/gds.mode': 'p2pdma' },
    });
    assert(seconds(cluster, 'rack', direct) < around);
  });

  it('believes measured round trips more than labels', () => {
    const cluster = new TestCluster()
      .node('n', { zone: 'a', rack: 'r1' })
      .storage(['a'])
      .bound('c')
      .record('c', { homeSet: ['s0'], liveBytes: 0 });
    const byLabel = seconds(cluster, 'n', { claims: ['c'] });
    cluster.index.put('storageNode', {
      id: 's0',
      host: 'storage-0',
      zone: 'a',
      rack: 'sr0',
      state: 'up',
      capacityBytes: 1,
      load: 0,
      rttUs: new Map([
        ['a', 900],
        ['a/r1', 500],
      ]),
      cutOffZones: [],
    });
    assert.equal(seconds(cluster, 'n', { claims: ['c'] }), 4 * 500e-6);
    assert(byLabel < 4 * 500e-6);
  });
});

describe('the score', () => {
  it('is 10 for the best and never rises with time', () => {
    const time = fc.double({ min: 0, max: 1e4, noNaN: true });
    fc.assert(
      fc.property(time, time, time, (best, a, b) => {
        const [less, more] = [Math.min(a, b), Math.max(a, b)];
        assert(scoreOf(more, best, DEFAULT_WEIGHTS) <= scoreOf(less, best, DEFAULT_WEIGHTS));
        const score = scoreOf(a, best, DEFAULT_WEIGHTS);
        assert(Number.isInteger(score) && score >= 0 && score <= 10);
        assert.equal(scoreOf(best, best, DEFAULT_WEIGHTS), 10);
      }),
      { seed: 43 },
    );
  });

  it('tells nodes apart where it matters and leaves them alike where it does not', () => {
    assert.equal(scoreOf(40, 10, DEFAULT_WEIGHTS), 0);
    assert.equal(scoreOf(20, 10, DEFAULT_WEIGHTS), 5);
    assert.equal(scoreOf(0.002, 0.001, DEFAULT_WEIGHTS), 10, 'a millisecond is nothing to be near for');
  });

  it('of one node alone is what it is among others', () => {
    const cluster = sites({ rack: 30 * GB, zone: 40 * GB, host: 10 * GB });
    const need = needOf(podFacts(podObject('p', MODEL)), cluster.index, RULES);
    const times = new LoadTimes(need, cluster.index, DEFAULT_WEIGHTS);
    for (const node of ['far', 'host', 'rack', 'zone', 'rail', 'host']) {
      const alone = scoreNode(need, cluster.slot(node), cluster.index, DEFAULT_WEIGHTS, 1);
      assert.equal(times.secondsAt(cluster.slot(node)), alone.seconds, node);
      const { load, firstByteS } = times.explain(cluster.slot(node));
      const sum = Object.values(load).reduce((total, part) => total + part.seconds, firstByteS);
      assert(Math.abs(sum - alone.seconds) < 1e-9, 'the breakdown adds up');
    }
  });
});
