import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  claimFacts,
  csiNodeFacts,
  nodeFacts,
  persistentVolumeFacts,
  podFacts,
  quantityOf,
  storageCapacityFacts,
  storageClassFacts,
} from '../../../../scheduler-extender/kube/index.ts';
import { classObject, csiNodeObject, nodeObject, podObject, volumeObject } from '../../../support/extender/objects.ts';

describe('a quantity', () => {
  it('is what the API server means by it', () => {
    const known: [unknown, number | undefined][] = [
      ['10Gi', 10 * 2 ** 30],
      ['1.5Ti', 1.5 * 2 ** 40],
      ['100', 100],
      ['2k', 2000],
      ['3e9', 3e9],
      ['1500m', 2],
      ['0', 0],
      [7, 7],
      ['9007199254740992Ei', 9007199254740992 * 2 ** 60],
      ['', undefined],
      ['-1', undefined],
      ['1Zi', undefined],
      ['abc', undefined],
      [null, undefined],
      [Number.NaN, undefined],
    ];
    for (const [text, value] of known) assert.equal(quantityOf(text), value, String(text));
  });
});

describe('what is kept of an object of the API', () => {
  it('never throws anything but INVALID_ARGUMENT, whatever the object', () => {
    const readers = [
      podFacts,
      claimFacts,
      nodeFacts,
      persistentVolumeFacts,
      storageClassFacts,
      storageCapacityFacts,
      csiNodeFacts,
    ];
    const parts = [
      podObject('p', { claims: ['c'] }),
      nodeObject('n'),
      volumeObject('v'),
      classObject('c'),
      csiNodeObject('n', 3),
    ];
    const anything = fc.oneof(
      fc.anything(),
      fc.constantFrom(...parts),
      fc.dictionary(fc.constantFrom('metadata', 'spec', 'status'), fc.anything()),
    );
    fc.assert(
      fc.property(anything, fc.constantFrom(...readers), (value, read) => {
        try {
          read(value);
        } catch (err) {
          assert.equal(Reflect.get(Object(err), 'code'), 'INVALID_ARGUMENT', String(err));
        }
      }),
      { numRuns: 2000, seed: 5 },
    );
  });

  it('of a pod: devices as the scheduler counts them, without the marker', () => {
    const limits = (count: number) => ({
      resources: { limits: { 'nabustore.io/rdma': count, 'nabustore.io/locality': 1, cpu: 1 } },
    });
    const pod = podObject('p');
    const spec = {
      containers: [limits(1), limits(2)],
      initContainers: [limits(2), { ...limits(1), restartPolicy: 'Always' }, limits(4)],
    };
    // Sidecar 1 + init 4 = 5 beside sidecar 1 + containers 3 = 4.
    assert.deepEqual([...podFacts({ ...pod, spec }).devices], [['nabustore.io/rdma', 5]]);
  });

  it('of a pod: claims by name once, and those of its own by the name they will have', () => {
    const template = {
      storageClassName: 'fast',
      resources: { requests: { storage: '2Gi' } },
      accessModes: ['ReadWriteOnce'],
    };
    const pod = podFacts(podObject('p', { claims: ['a', 'a', 'b'], ephemeral: [{ name: 'scratch', spec: template }] }));
    assert.deepEqual(
      pod.claims.map(({ key }) => key),
      ['ns/a', 'ns/b', 'ns/p-scratch'],
    );
    assert.equal(pod.claims[2]?.template?.sizeBytes, 2 * 2 ** 30);
  });

  it('of a class: the policy, or the sentence that the driver would refuse it with', () => {
    const wish = storageClassFacts(
      classObject('c', { policy: 'ec:8+2', failureDomain: 'rack', provisioning: 'thin' }),
    ).wish;
    assert(typeof wish === 'object');
    assert.deepEqual([wish.policy?.name, wish.failureDomain, wish.thin], ['ec:8+2', 'rack', true]);
    for (const parameters of [
      { policy: 'raid5' },
      { failureDomain: 'room' },
      { maxShardsPerDomain: '9' },
      { policy: 'ec:4+2', maxShardsPerDomain: '3' },
    ])
      assert.equal(typeof storageClassFacts(classObject('c', parameters)).wish, 'string', JSON.stringify(parameters));
    assert.equal(storageClassFacts(classObject('c', {}, 'other.example')).isOurs, false);
  });

  it('of a volume: its zones where every alternative names some', () => {
    assert.deepEqual(persistentVolumeFacts(volumeObject('v', { zones: ['b', 'a'] })).zones, ['a', 'b']);
    assert.deepEqual(persistentVolumeFacts(volumeObject('v')).zones, []);
    assert.equal(persistentVolumeFacts(volumeObject('v', { driver: 'other' })).handle, '');
  });

  it('of a node: where it is by the first label it has, and only the taints that concern storage', () => {
    const object = nodeObject('n', {
      labels: {
        'topology.kubernetes.io/zone': 'other',
        'nabustore.io/rdma.rate-gbps': '400',
        'nabustore.io/gds.mode': 'p2pdma',
      },
      taints: [
        { key: 'dedicated', value: 'x', effect: 'NoSchedule' },
        { key: 'nabustore.io/fabric-down', effect: 'NoExecute' },
      ],
      allocatable: { 'nabustore.io/rdma': '8', cpu: '4', 'nabustore.io/locality': '1' },
    });
    const facts = nodeFacts(object);
    assert.deepEqual([facts.zone, facts.rack, facts.rail, facts.linkGbps, facts.isDirect], ['a', 'r1', '', 400, true]);
    assert.deepEqual(facts.taints, [{ key: 'nabustore.io/fabric-down', value: '', effect: 'NoExecute' }]);
    assert.deepEqual([...facts.devices], [['nabustore.io/rdma', 8]]);
    assert.equal(nodeFacts({ metadata: { name: 'bare' } }).zone, 'default');
  });
});
