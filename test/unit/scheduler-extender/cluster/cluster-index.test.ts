import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { ClusterIndex } from '../../../../scheduler-extender/cluster/index.ts';
import {
  claimFacts,
  csiNodeFacts,
  nodeFacts,
  persistentVolumeFacts,
  podFacts,
} from '../../../../scheduler-extender/kube/index.ts';
import {
  claimObject,
  csiNodeObject,
  nodeObject,
  type PodGiven,
  podObject,
  TestCluster,
  volumeObject,
} from '../../../support/extender/objects.ts';

const few = (prefix: string) => fc.integer({ min: 0, max: 5 }).map((at) => `${prefix}${at}`);

type Model = {
  readonly pods: Map<string, PodGiven>;
  readonly claims: Map<string, string | undefined>;
  readonly volumes: Map<string, boolean>;
  readonly nodes: Map<string, number>;
};

const step = fc.oneof(
  fc.record({
    is: fc.constant('pod' as const),
    name: few('p'),
    node: fc.option(few('n'), { nil: undefined }),
    claims: fc.uniqueArray(few('c'), { maxLength: 3 }),
    units: fc.integer({ min: 0, max: 2 }),
    phase: fc.constantFrom('Running', 'Running', 'Succeeded'),
  }),
  fc.record({ is: fc.constant('claim' as const), name: few('c'), volume: fc.option(few('v'), { nil: undefined }) }),
  fc.record({ is: fc.constant('volume' as const), name: few('v'), isOurs: fc.boolean() }),
  fc.record({ is: fc.constant('node' as const), name: few('n'), units: fc.integer({ min: 1, max: 9 }) }),
  fc.record({
    is: fc.constant('remove' as const),
    kind: fc.constantFrom('pod', 'claim', 'volume', 'node'),
    at: fc.nat(5),
  }),
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const DEVICE = 'nabustore.io/rdma';

function tell(index: ClusterIndex, model: Model, given: Step): void {
  if (given.is === 'pod') {
    const { name, node, claims, units, phase } = given;
    const pod: PodGiven = {
      claims,
      phase,
      ...(units > 0 ? { devices: { [DEVICE]: units } } : {}),
      ...(node === undefined ? {} : { node }),
    };
    model.pods.set(name, pod);
    index.put('pod', podFacts(podObject(name, pod)));
  } else if (given.is === 'claim') {
    model.claims.set(given.name, given.volume);
    index.put('claim', claimFacts(claimObject(given.name, given.volume === undefined ? {} : { volume: given.volume })));
  } else if (given.is === 'volume') {
    model.volumes.set(given.name, given.isOurs);
    index.put('volume', persistentVolumeFacts(volumeObject(given.name, given.isOurs ? {} : { driver: 'other' })));
  } else if (given.is === 'node') {
    model.nodes.set(given.name, given.units);
    index.put('node', nodeFacts(nodeObject(given.name, { allocatable: { [DEVICE]: given.units } })));
  } else {
    const key = `${given.kind === 'pod' ? 'p' : given.kind[0]}${given.at}`;
    const kind = given.kind as 'pod' | 'claim' | 'volume' | 'node';
    index.remove(kind, kind === 'pod' ? `uid-${key}` : kind === 'claim' ? `ns/${key}` : key);
    if (kind === 'pod') model.pods.delete(key);
    else if (kind === 'claim') model.claims.delete(key);
    else if (kind === 'volume') model.volumes.delete(key);
    else model.nodes.delete(key);
  }
}

/** By brute force over everything: volumes of ours and devices that living pods use on the node. */
function expected({ pods, claims, volumes }: Model, node: string): { attached: number; used: number } {
  const there = [...pods.values()].filter((pod) => pod.node === node && pod.phase !== 'Succeeded');
  const used = there.reduce((sum, { devices }) => sum + Number(devices?.[DEVICE] ?? 0), 0);
  const keys = new Set(there.flatMap((pod) => pod.claims ?? []));
  const owner = new Map([...claims].map(([claim, volume]) => [volume, claim]));
  const isOurs = (claim: string): boolean => {
    const volume = claims.get(claim);
    return volume !== undefined && volumes.get(volume) === true && owner.has(volume);
  };
  return { attached: [...keys].filter(isOurs).length, used };
}

describe('the index of a cluster', () => {
  it('counts attached volumes and devices in use as a look at everything would, in whatever order it is told', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { index } = new TestCluster();
        const model: Model = { pods: new Map(), claims: new Map(), volumes: new Map(), nodes: new Map() };
        // A volume is bound to one claim: Kubernetes sees to that, so the test does.
        const bound = new Map<string, string>();
        for (const given of steps) {
          if (given.is === 'claim' && given.volume !== undefined) {
            if ((bound.get(given.volume) ?? given.name) !== given.name) continue;
            bound.set(given.volume, given.name);
          }
          tell(index, model, given);
        }
        assert.equal(index.nodes.count, model.nodes.size);
        for (const node of ['n0', 'n1', 'n2', 'n3', 'n4', 'n5']) {
          const slot = index.nodes.names.find(node);
          const { attached, used } = expected(model, node);
          const devices = index.nodes.devices(DEVICE);
          assert.equal(slot < 0 ? 0 : index.nodes.attached[slot], attached, `attached to ${node}`);
          assert.equal(slot < 0 ? 0 : (devices?.used[slot] ?? 0), used, `used of ${node}`);
          if (model.nodes.has(node)) assert.equal(devices?.total[slot], model.nodes.get(node));
        }
      }),
      { numRuns: 1000, seed: 23 },
    );
  });

  it('keeps nothing of a pod that has nothing of ours', () => {
    const cluster = new TestCluster().node('n1').pod('stranger', { node: 'n1' });
    assert.equal(cluster.index.pods.count, 0);
  });

  it('forgets every name when all that referred to it is gone', () => {
    const { index } = new TestCluster()
      .node('n1', {}, 8)
      .claim('c')
      .pod('p', { node: 'n1', claims: ['c'] });
    index.remove('node', 'n1');
    index.remove('csiNode', 'n1');
    assert.equal(index.nodes.names.size, 1);
    index.remove('pod', 'uid-p');
    index.remove('claim', 'ns/c');
    assert.deepEqual([index.nodes.names.size, index.claims.count], [0, 0]);
  });

  it('knows the place of a node before and after it is moved, and what lay there moves with it', () => {
    const cluster = new TestCluster().node('n1', { zone: 'a', rack: 'x' }).model('m', 100, { n1: 100 });
    const content = cluster.index.storage.content('model', 'm');
    assert(content !== undefined);
    const rackOf = () =>
      [...cluster.index.storage.spreadOfContent(content).racks.keys()].map((rack) =>
        cluster.index.nodes.places.rackPath(rack),
      );
    assert.deepEqual(rackOf(), ['a/x']);
    cluster.node('n1', { zone: 'b', rack: 'y' });
    assert.deepEqual(rackOf(), ['b/y']);
  });

  it('finds contents by id and by name, until they are gone', () => {
    const { index } = new TestCluster().model('m', 100, {});
    assert.equal(index.storage.content('model', 'm'), index.storage.content('model', 'id-m'));
    assert.equal(index.storage.content('kv-cache', 'm'), undefined);
    index.remove('content', 'model:id-m');
    assert.equal(index.storage.content('model', 'm'), undefined);
  });

  it('counts the raw bytes of volume records, once each', () => {
    const cluster = new TestCluster().storage(['a', 'a', 'a', 'a', 'a', 'a'], { capacityBytes: 2 ** 30 });
    const before = cluster.index.storage.freeBytes;
    cluster.record('c').record('c');
    assert.equal(before - cluster.index.storage.freeBytes, 1.5 * 2 ** 30);
    cluster.index.remove('record', 'h-pv-c');
    assert.equal(cluster.index.storage.freeBytes, before);
  });

  it('takes a node of 5,000 away and back without growing', () => {
    const cluster = new TestCluster();
    for (let at = 0; at < 5000; at++) {
      cluster.index.put('node', nodeFacts(nodeObject(`n${at}`, { rack: `r${at % 100}` })));
      cluster.index.put('csiNode', csiNodeFacts(csiNodeObject(`n${at}`, 128)));
    }
    for (let round = 0; round < 3; round++) {
      for (let at = 0; at < 5000; at++) {
        cluster.index.remove('csiNode', `n${at}`);
        cluster.index.remove('node', `n${at}`);
        cluster.node(`n${at}`, { rack: `r${at % 100}` }, 128);
      }
    }
    assert.deepEqual(
      [cluster.index.nodes.count, cluster.index.nodes.names.limit, cluster.index.nodes.places.count],
      [5000, 5000, 100],
    );
  });
});
