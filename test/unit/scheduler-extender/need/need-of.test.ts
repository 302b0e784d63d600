import assert from 'node:assert/strict';
import { parsePolicy } from '../../../../engine/blob/index.ts';
import { podFacts } from '../../../../scheduler-extender/kube/index.ts';
import { type Need, needOf } from '../../../../scheduler-extender/need/index.ts';
import { type PodGiven, podObject, TestCluster } from '../../../support/extender/objects.ts';

const RULES = { defaultPolicy: parsePolicy('replica:3'), assumedFill: 0.5, nearBytes: 1000 };
const GIB = 2 ** 30;

function need(cluster: TestCluster, pod: PodGiven): Need {
  return needOf(podFacts(podObject('p', pod)), cluster.index, RULES);
}

describe('what a pod needs', () => {
  it('is nothing where its claims are those of others', () => {
    const cluster = new TestCluster().storageClass('other', {}, 'other.example').claim('c', { className: 'other' });
    const { made, wanted, readings, faults, unknown } = need(cluster, { claims: ['c'] });
    assert.deepEqual([made, wanted, readings, faults, unknown], [[], [], [], [], []]);
  });

  it('is a volume to be made, with parity, by its class or by the default policy', () => {
    const cluster = new TestCluster()
      .storageClass('fast')
      .storageClass('plain', {})
      .storageClass('thin', { provisioning: 'thin' });
    for (const className of ['fast', 'plain', 'thin']) cluster.claim(className, { className, size: '2Gi' });
    const { wanted } = need(cluster, { claims: ['fast', 'plain', 'thin'] });
    assert.deepEqual(
      wanted.map(({ policy, rawBytes }) => [policy.name, rawBytes]),
      [
        ['ec:4+2', 3 * GIB],
        ['replica:3', 6 * GIB],
        ['replica:3', 0],
      ],
    );
  });

  it('is what its generic ephemeral volumes ask for, before their claims are there and after', () => {
    const spec = { storageClassName: 'fast', resources: { requests: { storage: '2Gi' } } };
    const cluster = new TestCluster().storageClass('fast');
    const pod = { ephemeral: [{ name: 'scratch', spec }] };
    assert.deepEqual(
      need(cluster, pod).wanted.map(({ claimKey }) => claimKey),
      ['ns/p-scratch'],
    );
    cluster.bound('p-scratch');
    const later = need(cluster, pod);
    assert.deepEqual([later.wanted.length, later.made[0]?.handle], [0, 'h-pv-p-scratch']);
  });

  it('reads what a bound volume holds, as its record says, else as full as volumes are taken to be', () => {
    const cluster = new TestCluster().bound('c').bound('d');
    cluster.record('c', { liveBytes: 77 });
    assert.deepEqual(
      need(cluster, { claims: ['c', 'd'] }).readings.map(({ bytes }) => bytes),
      [77, GIB / 2],
    );
  });

  it('is not known, rather than refused, while its claim or volume has not been heard of', () => {
    const cluster = new TestCluster().claim('unbound-pv', { volume: 'pv-x' });
    assert.deepEqual(need(cluster, { claims: ['nowhere', 'unbound-pv'] }).unknown, [
      'claim ns/nowhere',
      'volume pv-x of claim ns/unbound-pv',
    ]);
  });

  it('is refused in a sentence where the class is missing or unusable', () => {
    const cluster = new TestCluster().storageClass('bad', { policy: 'raid5' });
    cluster.claim('a', { className: 'gone' }).claim('b', { className: 'bad' });
    const { faults } = need(cluster, { claims: ['a', 'b'] });
    assert.match(faults[0] ?? '', /there is no storage class "gone" for claim ns\/a/);
    assert.match(faults[1] ?? '', /storage class bad of claim ns\/b cannot be used: policy raid5 is not one of/);
  });

  it('is near to claims and groups that are somewhere, and the first of a group may go anywhere', () => {
    const cluster = new TestCluster()
      .node('n1')
      .claim('c')
      .pod('user', { node: 'n1', claims: ['c'] });
    const annotations = { 'nabustore.io/near': 'c, group:team' };
    assert.deepEqual(
      need(cluster, { annotations }).readings.map(({ what }) => what),
      ['near claim c'],
    );
    cluster.pod('member', { node: 'n1', labels: { 'nabustore.io/pod-group': 'team' } });
    assert.deepEqual(
      need(cluster, { annotations }).readings.map(({ what }) => what),
      ['near claim c', 'near group team'],
    );
  });

  it('is models and caches by name; one that nobody holds comes from storage, and is no place to be near to', () => {
    const cluster = new TestCluster().node('n1').model('llama', 100, { n1: 100 });
    const annotations = { 'nabustore.io/models': 'llama, unheard, llama' };
    const relaxed = need(cluster, { annotations });
    assert.deepEqual([relaxed.readings.length, relaxed.faults.length], [1, 0]);
    cluster.storage(['a']);
    const [, fromStorage] = need(cluster, { annotations }).readings;
    assert.match(fromStorage?.what ?? '', /"unheard", of unknown size/);
    assert.equal(fromStorage?.isAnchor, false);
    const strict = need(cluster, { annotations: { ...annotations, 'nabustore.io/locality': 'required' } });
    assert.match(strict.faults[0] ?? '', /nothing is known to hold model "unheard"/);
  });

  it('is refused with the annotation that is wrong, never longer than a line', () => {
    const faults = (annotations: Record<string, string>) => need(new TestCluster(), { annotations }).faults;
    assert.match(
      faults({ 'nabustore.io/locality': 'maybe' })[0] ?? '',
      /locality is "maybe", not one of required, preferred/,
    );
    assert.match(faults({ 'nabustore.io/near': 'host:x' })[0] ?? '', /neither claim: nor group:/);
    const many = Array.from({ length: 257 }, (_, at) => `m${at}`).join(',');
    assert.match(faults({ 'nabustore.io/models': many })[0] ?? '', /has 257 names/);
    assert((faults({ 'nabustore.io/locality': 'x'.repeat(9999) })[0] ?? '').length < 200);
  });
});
