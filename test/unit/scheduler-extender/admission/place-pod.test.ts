import assert from 'node:assert/strict';
import fc from 'fast-check';
import { GATE, PLACEMENT_ANNOTATION } from '../../../../scheduler-extender/admission/index.ts';
import { deviceClassFacts, MARKER_RESOURCE } from '../../../../scheduler-extender/kube/index.ts';
import {
  addNode,
  admissionOf,
  admitted,
  isAllowed,
  nodeAffinityOf,
  preferenceOf,
} from '../../../support/extender/admitted.ts';
import { type Given, type PodGiven, podObject, TestCluster } from '../../../support/extender/objects.ts';

const GB = 1e9;
const MODEL = { 'nabustore.io/models': 'm' };
const REQUIRED = { ...MODEL, 'nabustore.io/locality': 'required' };

function newPod(given: PodGiven & { scheduler?: string; spec?: Given } = {}): Given {
  const { metadata, spec } = podObject('p', given) as { metadata: Given; spec: Given };
  const { uid: _, ...unmade } = metadata;
  return { metadata: unmade, spec: { schedulerName: given.scheduler ?? 'nabustore', ...spec, ...given.spec } };
}

/** Forty nodes in ten racks of two zones; a model on one of them. */
function site(): TestCluster {
  const cluster = new TestCluster().storageClass('fast').storageClass('other', {}, 'other.example.com');
  for (let at = 0; at < 40; at++) {
    const rack = at >> 2;
    cluster.node(`n${at}`, { zone: rack < 5 ? 'a' : 'b', rack: `r${rack}` });
  }
  return cluster.model('m', 100 * GB, { n6: 100 * GB });
}

const node = (name: string, zone: string, rack: string): Given => ({
  metadata: { name, labels: { 'topology.nabustore.io/zone': zone, 'topology.nabustore.io/rack': rack } },
});

const resourcesOf = (pod: Given): readonly Given[] =>
  (pod.spec as { containers: readonly { resources: Given }[] }).containers.map(({ resources }) => resources);

describe('a new pod', () => {
  it('that has nothing of ours is never touched', () => {
    const cluster = site().claim('theirs', { className: 'other' });
    for (const given of [
      {},
      { claims: ['theirs'] },
      { devices: { 'example.com/gpu': '1' } },
      { annotations: { a: 'b' } },
    ])
      for (const scheduler of ['nabustore', 'default-scheduler'])
        assert.equal(admitted(newPod({ ...given, scheduler }), admissionOf(cluster)).operations, 0);
  });

  it('that has its node already is never touched', () => {
    assert.equal(admitted(newPod({ annotations: REQUIRED, node: 'n1' }), admissionOf(site())).operations, 0);
  });

  it('that uses volumes, devices or caches of ours, or may, is marked and gated', () => {
    const cluster = site().claim('ours').bound('made').claim('unknown-class', { className: 'new' });
    const mine: readonly PodGiven[] = [
      { claims: ['ours'] },
      { claims: ['made'] },
      { claims: ['nobody-has-told-of-it'] },
      { claims: ['unknown-class'] },
      { ephemeral: [{ name: 'scratch', spec: { storageClassName: 'fast' } }] },
      { ephemeral: [{ name: 'scratch', spec: {} }] },
      { devices: { 'nabustore.io/rdma': '1' } },
      { annotations: { 'nabustore.io/kv-cache': 'pool' } },
    ];
    for (const given of mine) {
      const { pod } = admitted(newPod(given), admissionOf(cluster));
      const [resources] = resourcesOf(pod) as readonly { limits: Given; requests: Given }[];
      assert.equal(resources?.limits[MARKER_RESOURCE], '1', JSON.stringify(given));
      assert.equal(resources?.requests[MARKER_RESOURCE], '1');
      assert.deepEqual((pod.spec as { schedulingGates: unknown }).schedulingGates, [{ name: GATE }]);
    }
  });

  it('of a scheduler that does not ask us is neither marked nor gated', () => {
    const { pod } = admitted(newPod({ annotations: REQUIRED, scheduler: 'default-scheduler' }), admissionOf(site()));
    assert.deepEqual(resourcesOf(pod), resourcesOf(newPod()));
    assert.equal((pod.spec as Given).schedulingGates, undefined);
    const silent = admissionOf(site(), { advisesOthers: false });
    assert.equal(admitted(newPod({ annotations: REQUIRED, scheduler: 'default-scheduler' }), silent).operations, 0);
  });

  it('of ours that names no scheduler goes to the one that asks, once; others stay where they are', () => {
    const admission = admissionOf(site(), { sendTo: 'nabustore' });
    const { pod } = admitted(newPod({ annotations: MODEL, scheduler: 'default-scheduler' }), admission);
    assert.equal(Reflect.get(Object(pod.spec), 'schedulerName'), 'nabustore');
    assert.match(JSON.stringify(resourcesOf(pod)), /locality/);
    assert.equal(admitted(pod, admission).operations, 0);
    const theirs = admitted(newPod({ annotations: MODEL, scheduler: 'theirs' }), admission);
    assert.equal(Reflect.get(Object(theirs.pod.spec), 'schedulerName'), 'theirs');
    assert.equal(admitted(newPod({ scheduler: 'default-scheduler' }), admission).operations, 0);
  });

  it('that the scheduler gives a device of a class to by itself is not marked, which it would not survive, but placed and warned about', () => {
    const cluster = site();
    const admission = admissionOf(cluster, { sendTo: 'nabustore' });
    const given = { annotations: REQUIRED, scheduler: 'default-scheduler' };
    const gpu = { name: 'init', resources: { limits: { 'example.com/gpu': '1' } } };
    const asking = newPod({ ...given, spec: { initContainers: [gpu] } });
    assert.match(JSON.stringify(admitted(asking, admission).pod), /nabustore.io.locality":"1/);
    cluster.index.put(
      'deviceClass',
      deviceClassFacts({ metadata: { name: 'gpu' }, spec: { extendedResourceName: 'example.com/gpu' } }),
    );
    const implicit = newPod({ ...given, devices: { 'deviceclass.resource.kubernetes.io/any': '1' } });
    for (const pod of [asking, implicit]) {
      const { pod: written, warnings } = admitted(pod, admission);
      assert.deepEqual(resourcesOf(written), resourcesOf(pod));
      const { schedulingGates, schedulerName } = written.spec as Given;
      assert.deepEqual([schedulingGates, schedulerName], [undefined, 'default-scheduler']);
      assert.match(warnings.join(), /is handed out by the scheduler itself/);
      assert(isAllowed(written, node('n5', 'a', 'r1')) && !isAllowed(written, node('n30', 'b', 'r7')));
    }
    cluster.index.remove('deviceClass', 'gpu');
    assert.match(JSON.stringify(admitted(asking, admission).pod), /nabustore.io.locality":"1/);
  });

  it('keeps the gates of others, and gets ours once', () => {
    const spec = { schedulingGates: [{ name: 'example.com/quota' }] };
    const { pod } = admitted(newPod({ annotations: MODEL, spec }), admissionOf(site()));
    assert.deepEqual((pod.spec as Given).schedulingGates, [{ name: 'example.com/quota' }, { name: GATE }]);
  });

  it('whose locality is required has to be in the racks that have enough of its data', () => {
    const { pod, warnings } = admitted(newPod({ annotations: REQUIRED }), admissionOf(site()));
    assert.deepEqual(nodeAffinityOf(pod).requiredDuringSchedulingIgnoredDuringExecution, {
      nodeSelectorTerms: [
        { matchExpressions: [{ key: 'topology.nabustore.io/rack', operator: 'In', values: ['r1'] }] },
        {
          matchExpressions: [
            { key: 'topology.nabustore.io/rack', operator: 'DoesNotExist' },
            { key: 'topology.kubernetes.io/rack', operator: 'In', values: ['r1'] },
          ],
        },
      ],
    });
    assert.deepEqual(warnings, []);
  });

  it('is warned about where nothing is near, and nothing is required of its nodes', () => {
    const cluster = site();
    cluster.index.remove('content', 'model/id-m');
    const nowhere = { 'nabustore.io/models': 'nobody-has-it', 'nabustore.io/locality': 'required' };
    for (const scheduler of ['nabustore', 'default-scheduler']) {
      const { pod, warnings } = admitted(newPod({ annotations: nowhere, scheduler }), admissionOf(cluster));
      assert.equal(nodeAffinityOf(pod).requiredDuringSchedulingIgnoredDuringExecution, undefined);
      if (scheduler !== 'nabustore') assert.match(warnings.join(), /the pod may go anywhere/);
    }
  });

  it('prefers the node that holds its model, then the rack, where these are few', () => {
    const { pod } = admitted(newPod({ annotations: MODEL }), admissionOf(site()));
    const [holder, beside, far] = [node('n6', 'a', 'r1'), node('n5', 'a', 'r1'), node('n30', 'b', 'r7')];
    assert(preferenceOf(pod, holder) > preferenceOf(pod, beside), JSON.stringify(nodeAffinityOf(pod)));
    assert(preferenceOf(pod, beside) > preferenceOf(pod, far));
    assert.equal(preferenceOf(pod, far), 0);
  });

  it('gets no preference for the scheduler to weigh twice where half of the nodes are good', () => {
    const half = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`n${at * 2}`, 100 * GB]));
    const cluster = site().model('m', 100 * GB, half);
    assert.equal(
      preferenceOf(admitted(newPod({ annotations: MODEL }), admissionOf(cluster)).pod, node('n6', 'a', 'r1')),
      0,
    );
    const advised = admitted(newPod({ annotations: MODEL, scheduler: 'default-scheduler' }), admissionOf(cluster));
    assert(nodeAffinityOf(advised.pod).preferredDuringSchedulingIgnoredDuringExecution !== undefined);
  });

  it('is asked to be near its group by a scheduler that does not ask us', () => {
    const annotations = { 'nabustore.io/near': 'group:trainers' };
    const { pod } = admitted(newPod({ annotations, scheduler: 'default-scheduler' }), admissionOf(site()));
    const { podAffinity } = (pod.spec as { affinity: { podAffinity: Given } }).affinity;
    const labelSelector = { matchLabels: { 'nabustore.io/pod-group': 'trainers' } };
    assert.deepEqual(podAffinity.preferredDuringSchedulingIgnoredDuringExecution, [
      { weight: 60, podAffinityTerm: { topologyKey: 'topology.nabustore.io/rack', labelSelector } },
      { weight: 40, podAffinityTerm: { topologyKey: 'topology.nabustore.io/zone', labelSelector } },
    ]);
  });

  it('names no more terms and nodes than are allowed', () => {
    const cluster = new TestCluster();
    const holders: Record<string, number> = {};
    for (let at = 0; at < 1000; at++) {
      cluster.node(`n${at}`, { zone: `z${at % 7}`, rack: `r${at % 90}`, rail: `l${at % 3}` });
      if (at % 11 === 0) holders[`n${at}`] = ((at % 10) + 1) * GB;
    }
    cluster.model('m', 10 * GB, holders);
    for (const scheduler of ['nabustore', 'default-scheduler']) {
      const { pod } = admitted(newPod({ annotations: REQUIRED, scheduler }), admissionOf(cluster));
      const affinity = nodeAffinityOf(pod);
      const preferred = affinity.preferredDuringSchedulingIgnoredDuringExecution ?? [];
      assert((affinity.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? []).length <= 32);
      assert(preferred.length <= 32);
      assert(preferred.filter(({ preference }) => preference.matchFields !== undefined).length <= 16);
      assert(JSON.stringify(pod).length < 64 << 10);
    }
  });
});

const label = fc.constantFrom('a', 'b', 'c');
const labels = fc.record(
  {
    'topology.nabustore.io/zone': label,
    'topology.kubernetes.io/zone': label,
    'topology.nabustore.io/rack': label,
    'topology.kubernetes.io/rack': label,
    'topology.nabustore.io/rail': label,
    disk: label,
  },
  { requiredKeys: [] },
);
const requirement = fc.oneof(
  fc.record({
    key: fc.constantFrom('disk', 'topology.kubernetes.io/zone'),
    operator: fc.constant('In'),
    values: fc.array(label, { minLength: 1 }),
  }),
  fc.record({ key: fc.constant('disk'), operator: fc.constantFrom('Exists', 'DoesNotExist') }),
);
const terms = fc.array(fc.record({ matchExpressions: fc.array(requirement, { maxLength: 2 }) }), {
  minLength: 1,
  maxLength: 3,
});
const situation = fc.record({
  nodes: fc.array(labels, { minLength: 1, maxLength: 12 }),
  held: fc.dictionary(
    fc.integer({ min: 0, max: 11 }).map((at) => `n${at}`),
    fc.integer({ min: 1, max: 10 }),
  ),
  required: fc.option(terms, { nil: undefined }),
  scheduler: fc.constantFrom('nabustore', 'default-scheduler'),
  locality: fc.constantFrom('required', 'preferred'),
});
type Situation = typeof situation extends fc.Arbitrary<infer S> ? S : never;

function arranged({ nodes, held, required, scheduler, locality }: Situation): {
  cluster: TestCluster;
  objects: Given[];
  pod: Given;
} {
  const cluster = new TestCluster();
  const objects = nodes.map((given, at) => addNode(cluster, `n${at}`, given));
  const bytes = Object.entries(held).map(([name, gb]) => [name, gb * GB] as const);
  cluster.model('m', 10 * GB, Object.fromEntries(bytes));
  const annotations = { ...MODEL, 'nabustore.io/locality': locality };
  const nodeAffinity = { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: required } };
  const spec = required === undefined ? {} : { affinity: { nodeAffinity } };
  return { cluster, objects, pod: newPod({ annotations, scheduler, spec }) };
}

describe('what is written into any pod', () => {
  const unbounded = {
    maxRequiredTerms: 4096,
    maxPreferredTerms: 256,
    maxNodes: 256,
    maxValues: 4096,
    betterRatio: 1.5,
    fewShare: 0.1,
  };

  it('comes out of a second look as it went in, even when more is known by then', () => {
    fc.assert(
      fc.property(situation, (given) => {
        const { cluster, pod } = arranged(given);
        const admission = admissionOf(cluster);
        const once = admitted(pod, admission);
        assert.equal(admitted(once.pod, admission).operations, 0);
        const annotations = (once.pod.metadata as { annotations: Given }).annotations;
        if (annotations[PLACEMENT_ANNOTATION] === undefined) return;
        cluster.model('m', 20 * GB, { n0: 20 * GB, n1: 3 * GB });
        assert.equal(admitted(once.pod, admission).operations, 0);
      }),
      { numRuns: 1000, seed: 51 },
    );
  });

  it('allows exactly the nodes that the user allowed and that are near to the data', () => {
    fc.assert(
      fc.property(situation, (given) => {
        const { cluster, objects, pod } = arranged({ ...given, locality: 'required' });
        const admission = admissionOf(cluster, { placement: unbounded });
        const { pod: after } = admitted(pod, admission);
        const alone = admitted(arranged({ ...given, locality: 'required', required: undefined }).pod, admission).pod;
        for (const one of objects) {
          assert.equal(isAllowed(after, one), isAllowed(pod, one) && isAllowed(alone, one), JSON.stringify(after));
        }
      }),
      { numRuns: 1000, seed: 52 },
    );
  });

  it('requires the places that the filter lets pass, whichever labels name them', () => {
    fc.assert(
      fc.property(situation, (given) => {
        const { cluster, objects, pod } = arranged({ ...given, locality: 'required', required: undefined });
        const { pod: after } = admitted(pod, admissionOf(cluster, { placement: unbounded }));
        const { nodes, storage } = cluster.index;
        const content = storage.content('model', 'm');
        const spread = content === undefined ? undefined : storage.spreadOfContent(content);
        const near = objects.map((one) => {
          const slot = nodes.names.find((one.metadata as { name: string }).name);
          const { rack, rail } = nodes.places.at(nodes.place[slot] ?? 0);
          const share = (part: { share: number } | undefined): number => part?.share ?? 0;
          return Math.max(share(spread?.racks.get(rack)), share(spread?.rails.get(rail))) >= 0.5;
        });
        const isSaid = near.includes(true);
        for (const [at, one] of objects.entries()) assert.equal(isAllowed(after, one), isSaid ? near[at] : true);
      }),
      { numRuns: 1000, seed: 53 },
    );
  });

  it('never weighs a node above one that has its data sooner', () => {
    fc.assert(
      fc.property(situation, (given) => {
        const { cluster, objects, pod } = arranged({ ...given, scheduler: 'default-scheduler', locality: 'preferred' });
        const { pod: after } = admitted(pod, admissionOf(cluster, { placement: unbounded }));
        const weights = objects.map((one) => preferenceOf(after, one));
        const shares = objects.map((one) => given.held[(one.metadata as { name: string }).name] ?? 0);
        for (const weight of weights) assert(weight <= 100, `${weight}`);
        const most = Math.max(...shares);
        if (most >= 10) assert.equal(weights[shares.indexOf(most)], Math.max(...weights));
      }),
      { numRuns: 1000, seed: 54 },
    );
  });
});
