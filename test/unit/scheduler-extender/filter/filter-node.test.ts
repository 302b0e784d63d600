import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parsePolicy } from '../../../../engine/blob/index.ts';
import {
  DEFAULT_FILTER_RULES,
  FilterPass,
  filterNode,
  freedBy,
  NO_HOLDS,
  PASSED,
} from '../../../../scheduler-extender/filter/index.ts';
import { podFacts, resourceSliceFacts } from '../../../../scheduler-extender/kube/index.ts';
import { needOf } from '../../../../scheduler-extender/need/index.ts';
import { hcaDevice, type PodGiven, podObject, sliceObject, TestCluster } from '../../../support/extender/objects.ts';

const RULES = { defaultPolicy: parsePolicy('ec:4+2'), assumedFill: 0.5, nearBytes: 1000 };
const SIX = ['a', 'a', 'a', 'a', 'a', 'a'];
const GIB = 2 ** 30;

function refusal(cluster: TestCluster, pod: PodGiven, node = 'n1', held = 0) {
  const need = needOf(podFacts(podObject('p', pod)), cluster.index, RULES);
  const holds = { heldBytes: () => held, unpublishedBytes: () => held };
  return filterNode(need, cluster.slot(node), cluster.index, holds);
}

function base(): TestCluster {
  return new TestCluster().storageClass('fast').storage(SIX).node('n1', {}, 4).node('n2', { rack: 'r2' }, 4);
}

describe('a node', () => {
  it('takes a pod that it has everything for', () => {
    assert.equal(refusal(base().claim('c'), { claims: ['c'] }), undefined);
  });

  it('takes a pod that has nothing of ours, even when nobody has told of the node', () => {
    assert.equal(refusal(base(), {}, 'stranger'), undefined);
  });

  it('is refused while it is not known or our plugin is not on it', () => {
    const cluster = base().claim('c');
    assert.match(refusal(cluster, { claims: ['c'] }, 'stranger')?.reason ?? '', /has not heard of this node/);
    cluster.index.remove('csiNode', 'n1');
    const refused = refusal(cluster, { claims: ['c'] });
    assert.match(refused?.reason ?? '', /csi.nabustore.io\) is not registered/);
    assert.equal(refused?.resolvable, false);
  });

  it('is refused where too few failure domains can be reached for the policy', () => {
    const cluster = base().storageClass('fast', { policy: 'ec:6+2' }).claim('c');
    assert.match(
      refusal(cluster, { claims: ['c'] })?.reason ?? '',
      /ec:6\+2 of claim ns\/c needs 8 hosts with storage, zone a can reach 6/,
    );
    cluster.storageClass('fast', { policy: 'ec:6+2', maxShardsPerDomain: '2' });
    assert.equal(refusal(cluster, { claims: ['c'] }), undefined);
  });

  it('is refused where nodes are there for new data, but too few answer', () => {
    const cluster = base().claim('c');
    for (const at of [0, 1, 2, 3]) {
      cluster.index.put('storageNode', {
        id: `s${at}`,
        host: `storage-${at}`,
        zone: 'a',
        rack: `sr${at}`,
        state: 'down',
        capacityBytes: 100 * GIB,
        load: 0,
        rttUs: new Map(),
        cutOffZones: [],
      });
    }
    assert.match(
      refusal(cluster, { claims: ['c'] })?.reason ?? '',
      /needs 3 hosts with storage that answer, zone a can reach 2/,
    );
  });

  it('is refused from a zone that storage is cut off from, while another zone is not', () => {
    const cluster = base()
      .storage(['b', 'b', 'b', 'b', 'b', 'b'])
      .node('far', { zone: 'c' }, 4)
      .node('b1', { zone: 'b' }, 4)
      .claim('c');
    assert.match(
      refusal(cluster, { claims: ['c'] }, 'far')?.reason ?? '',
      /no storage node is in zone c, there are some in b/,
    );
    assert.equal(refusal(cluster, { claims: ['c'] }, 'b1'), undefined);
  });

  it('is refused where a volume cannot be reached: by its zones, or by storage nodes that do not answer', () => {
    const cluster = base()
      .bound('z', { zones: ['b'] })
      .bound('h')
      .record('h', { homeSet: ['s0', 's1', 's2', 'gone1', 'gone2', 'gone3'] });
    assert.match(
      refusal(cluster, { claims: ['z'] })?.reason ?? '',
      /volume ns\/z can be reached from zone b, not from a/,
    );
    assert.match(refusal(cluster, { claims: ['h'] })?.reason ?? '', /needs 4 of its 6 storage nodes, 3 answer zone a/);
  });

  it('is refused for a taint that says storage cannot be reached, unless the pod tolerates it', () => {
    const taints = [{ key: 'nabustore.io/fabric-down', value: 'x', effect: 'PreferNoSchedule' }];
    const cluster = base().node('n1', { taints }, 4).claim('c');
    assert.match(refusal(cluster, { claims: ['c'] })?.reason ?? '', /taint nabustore.io\/fabric-down=x says/);
    assert.equal(refusal(cluster, { claims: ['c'], tolerations: [{ operator: 'Exists' }] }), undefined);
    assert.equal(
      refusal(cluster, { claims: ['c'], tolerations: [{ key: 'nabustore.io/fabric-down', value: 'x' }] }),
      undefined,
    );
    assert.notEqual(
      refusal(cluster, { claims: ['c'], tolerations: [{ key: 'nabustore.io/fabric-down', value: 'y' }] }),
      undefined,
    );
  });

  it('is refused at the attach limit, resolvably, and what is attached already does not count twice', () => {
    const cluster = base();
    for (const at of [0, 1, 2, 3])
      cluster.bound(`c${at}`, { modes: ['ReadWriteMany'] }).pod(`u${at}`, { node: 'n1', claims: [`c${at}`] });
    cluster.bound('new');
    const refused = refusal(cluster, { claims: ['new'] });
    assert.match(refused?.reason ?? '', /1 more volume of NabuStore cannot be attached: 4 of at most 4 are/);
    assert.equal(refused?.resolvable, true);
    assert.equal(refusal(cluster, { claims: ['c0'] }), undefined);
    const five = Array.from({ length: 5 }, (_, at) => `w${at}`);
    for (const name of five) cluster.claim(name);
    assert.equal(
      refusal(cluster, { claims: five }, 'n2')?.resolvable,
      false,
      'no preemption makes room for five on four',
    );
  });

  it('is refused for a volume that another node uses, and for one that one pod alone may use', () => {
    const cluster = base()
      .bound('c')
      .pod('user', { node: 'n2', claims: ['c'] });
    const elsewhere = refusal(cluster, { claims: ['c'] });
    assert.match(elsewhere?.reason ?? '', /volume ns\/c is in use on node n2/);
    assert.equal(elsewhere?.resolvable, false);
    assert.equal(refusal(cluster, { claims: ['c'] }, 'n2'), undefined);
    cluster.bound('c', { modes: ['ReadWriteOncePod'] });
    assert.equal(refusal(cluster, { claims: ['c'] }, 'n2')?.resolvable, true);
  });

  it('is refused where the cluster has no room beside what is reserved', () => {
    const cluster = base().claim('c', { size: '300Gi' });
    // 600 GiB raw, 540 to promise, 450 taken with parity.
    assert.equal(refusal(cluster, { claims: ['c'] }), undefined);
    const refused = refusal(cluster, { claims: ['c'] }, 'n1', 100 * GIB);
    assert.match(refused?.reason ?? '', /take 450 GiB with parity or copies, 440 GiB are free, 100 GiB being reserved/);
    assert.equal(refused?.resolvable, false);
  });

  it('is judged by what is published alone after that has grown, until control has been read again', () => {
    const cluster = base().claim('c', { size: '400Gi' }).capacity('x', 'fast', '360Gi', 'a');
    const { growth } = cluster.index.storage;
    assert.match(refusal(cluster, { claims: ['c'] })?.reason ?? '', /take 600 GiB with parity or copies, 540 GiB are/);
    cluster.capacity('x', 'fast', '480Gi', 'a');
    assert.equal(refusal(cluster, { claims: ['c'] }), undefined);
    assert.match(
      refusal(cluster, { claims: ['c'] }, 'n1', 150 * GIB)?.reason ?? '',
      /class fast has 380 GiB in zone a/,
    );
    growth.read(growth.noticed);
    assert.match(refusal(cluster, { claims: ['c'] })?.reason ?? '', /540 GiB are free/);
  });

  it('is refused where published capacity is used up, is missing for its zone, or has no volume so large', () => {
    const cluster = base().claim('c', { size: '10Gi' }).capacity('x', 'fast', '12Gi', 'a');
    assert.equal(refusal(cluster, { claims: ['c'] }), undefined);
    assert.match(
      refusal(cluster, { claims: ['c'] }, 'n1', 6 * GIB)?.reason ?? '',
      /asks for 10 GiB, class fast has 8 GiB in zone a beside/,
    );
    cluster.claim('d', { size: '10Gi' });
    assert.match(
      refusal(cluster, { claims: ['c', 'd'] })?.reason ?? '',
      /claim ns\/d asks for 10 GiB, class fast has 2 GiB/,
    );
    cluster.capacity('x', 'fast', '9Gi', 'a');
    assert.match(
      refusal(cluster, { claims: ['c'] })?.reason ?? '',
      /the largest volume of class fast in zone a is 9 GiB/,
    );
    cluster.capacity('x', 'fast', '90Gi', 'b');
    assert.match(refusal(cluster, { claims: ['c'] })?.reason ?? '', /has no capacity in zone a/);
  });

  it('is refused where the pod must be near its data and is not', () => {
    const cluster = base().node('n3', { rack: 'r2' }, 4).model('m', 100, { n1: 60, n2: 30 });
    const annotations = { 'nabustore.io/models': 'm', 'nabustore.io/locality': 'required' };
    assert.equal(refusal(cluster, { annotations }, 'n1'), undefined);
    assert.match(
      refusal(cluster, { annotations }, 'n3')?.reason ?? '',
      /near to model "m": 30 % of it is in rack a\/r2, 50 % are asked for/,
    );
    assert.equal(refusal(cluster, { annotations: { 'nabustore.io/models': 'm' } }, 'n3'), undefined);
  });

  it('is refused without the devices, resolvably where pods hold them', () => {
    const cluster = base()
      .node('n1', { allocatable: { 'nabustore.io/rdma': '4' } }, 4)
      .pod('user', { node: 'n1', devices: { 'nabustore.io/rdma': 3 } });
    assert.equal(refusal(cluster, { devices: { 'nabustore.io/rdma': 1 } }), undefined);
    const held = refusal(cluster, { devices: { 'nabustore.io/rdma': 2 } });
    assert.match(held?.reason ?? '', /2 nabustore.io\/rdma are asked for, 1 of its 4 are free/);
    assert.equal(held?.resolvable, true);
    assert.equal(refusal(cluster, { devices: { 'nabustore.io/rdma': 5 } })?.resolvable, false);
    assert.match(refusal(cluster, { devices: { 'nabustore.io/gds': 1 } })?.reason ?? '', /the node has none/);
  });

  it('counts devices that the node publishes for claims: the scheduler hands those out under the same name', () => {
    const cluster = base();
    const pod = { devices: { 'nabustore.io/rdma': 2 } };
    assert.match(refusal(cluster, pod)?.reason ?? '', /the node has none/);
    cluster.index.put('slice', resourceSliceFacts(sliceObject('s', 'n1', [hcaDevice(0), hcaDevice(1)])));
    assert.equal(refusal(cluster, pod), undefined);
    cluster.pod('user', { node: 'n1', devices: { 'nabustore.io/rdma': 1 } });
    assert.match(refusal(cluster, pod)?.reason ?? '', /1 of its 2 are free/);
  });
});

describe('preemption', () => {
  it('helps exactly where what the victims leave is enough', () => {
    const cluster = base()
      .node('n1', { allocatable: { 'nabustore.io/rdma': '2' } }, 2)
      .bound('shared', { modes: ['ReadWriteMany'] });
    cluster.bound('own').pod('v1', { node: 'n1', claims: ['own', 'shared'], devices: { 'nabustore.io/rdma': 2 } });
    cluster.pod('v2', { node: 'n1', claims: ['shared'] }).claim('new');
    const need = needOf(
      podFacts(podObject('p', { claims: ['new'], devices: { 'nabustore.io/rdma': 1 } })),
      cluster.index,
      RULES,
    );
    const pass = new FilterPass(need, cluster.index, NO_HOLDS, DEFAULT_FILTER_RULES);
    const without = (uids: string[]) =>
      pass.of(cluster.slot('n1'), freedBy(uids, cluster.slot('n1'), cluster.index)) === PASSED;
    assert.equal(without([]), false);
    assert.equal(without(['uid-v2']), false);
    assert.equal(without(['uid-v1']), true);
    assert.deepEqual(freedBy(['uid-v1', 'uid-v2'], cluster.slot('n1'), cluster.index).volumes, 2);
    assert.equal(freedBy(['uid-v1'], cluster.slot('n2'), cluster.index).volumes, 0);
  });
});

describe('the filter', () => {
  it('says of each node alone what it says of it among others', () => {
    const world = fc.record({
      limits: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 8, maxLength: 8 }),
      zones: fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 8, maxLength: 8 }),
      used: fc.array(fc.integer({ min: 0, max: 7 }), { maxLength: 6 }),
      sizes: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 3 }),
      held: fc.integer({ min: 0, max: 60 }),
    });
    fc.assert(
      fc.property(world, ({ limits, zones, used, sizes, held }) => {
        const cluster = new TestCluster()
          .storageClass('fast')
          .storage(['a', 'a', 'a', 'b', 'b', 'b'], { capacityBytes: 20 * GIB });
        zones.forEach((zone, at) => void cluster.node(`n${at}`, { zone, rack: `r${at % 3}` }, limits[at]));
        used.forEach(
          (node, at) => void cluster.bound(`u${at}`).pod(`u${at}`, { node: `n${node}`, claims: [`u${at}`] }),
        );
        sizes.forEach((size, at) => void cluster.claim(`c${at}`, { size: `${size}Gi` }));
        cluster.capacity('x', 'fast', '30Gi', 'a').capacity('y', 'fast', '50Gi', 'b');
        const need = needOf(podFacts(podObject('p', { claims: sizes.map((_, at) => `c${at}`) })), cluster.index, RULES);
        const holds = { heldBytes: () => held * GIB, unpublishedBytes: () => held * GIB };
        const pass = new FilterPass(need, cluster.index, holds, DEFAULT_FILTER_RULES);
        for (const at of zones.keys()) {
          const slot = cluster.slot(`n${at}`);
          const verdict = pass.of(slot);
          assert.deepEqual(
            verdict === PASSED ? undefined : pass.refusals.list[verdict],
            filterNode(need, slot, cluster.index, holds),
          );
        }
      }),
      { numRuns: 300, seed: 31 },
    );
  });

  it('never lets more through for a larger claim, for more held, or for a lower limit', () => {
    const size = fc.integer({ min: 1, max: 400 });
    fc.assert(
      fc.property(size, size, fc.nat(500), fc.nat(500), (one, other, held, more) => {
        const passes = (gib: number, heldGib: number): boolean =>
          refusal(
            base()
              .claim('c', { size: `${gib}Gi` })
              .capacity('x', 'fast', '300Gi', 'a'),
            { claims: ['c'] },
            'n1',
            heldGib * GIB,
          ) === undefined;
        const [small, large] = [Math.min(one, other), Math.max(one, other)];
        if (passes(large, held)) assert(passes(small, held));
        if (passes(small, held + more)) assert(passes(small, held));
      }),
      { numRuns: 300, seed: 37 },
    );
  });
});
