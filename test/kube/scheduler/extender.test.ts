import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CoreV1Api, type KubeConfig, SchedulingV1Api, StorageV1Api } from '@kubernetes/client-node';
import { until } from '../host/until.ts';
import type { Plane } from '../plane/plane.ts';
import { makeClaim, makeClass, makeNode, makePod, type PodGiven } from './cluster-objects.ts';
import type { Recorder } from './recorder.ts';
import { NAMESPACE as namespace, onStage } from './stage.ts';

const GOLDEN = join(import.meta.dirname, '../../fixtures/extender');
const WAIT_MS = 60_000;
const DRIVER = 'csi.nabustore.io';

describe('the extender and a real scheduler', () => {
  let plane: Plane;
  let recorder: Recorder;
  let core: CoreV1Api;
  let config: KubeConfig;

  onStage(async (stage) => {
    ({ plane, core, config } = stage);
    await makeCluster();
    recorder = await stage.recorder((await stage.readyExtender()).port);
    await plane.startScheduler({ port: recorder.port, nodeCacheCapable: true });
  });

  async function makeCluster(): Promise<void> {
    await makeNode(config, 'near', { attachLimit: 4 });
    await makeNode(config, 'full', { attachLimit: 0 });
    await makeNode(config, 'other', { attachLimit: 4, zone: 'b' });
    await makeClass(config, 'fast');
    await config.makeApiClient(StorageV1Api).createNamespacedCSIStorageCapacity({
      namespace,
      body: {
        metadata: { name: 'zone-a' },
        storageClassName: 'fast',
        capacity: '10Gi',
        nodeTopology: { matchLabels: { 'topology.nabustore.io/zone': 'a' } },
      },
    });
    await config
      .makeApiClient(SchedulingV1Api)
      .createPriorityClass({ body: { metadata: { name: 'high' }, value: 1000 } });
  }

  const claim = (name: string, storage: string): Promise<void> => makeClaim(config, namespace, name, storage);
  const pod = (name: string, given: PodGiven = {}): Promise<void> => makePod(config, namespace, name, given);

  /** As a provisioner does when the scheduler has decided. */
  async function provision(name: string): Promise<string> {
    const decided = await until(`a node is chosen for claim ${name}`, WAIT_MS, async () => {
      const found = await core.readNamespacedPersistentVolumeClaim({ namespace, name });
      return found.metadata?.annotations?.['volume.kubernetes.io/selected-node'] === undefined ? undefined : found;
    });
    const uid = decided.metadata?.uid ?? '';
    const volume = `pvc-${uid}`;
    await core.createPersistentVolume({
      body: {
        metadata: { name: volume },
        spec: {
          capacity: { storage: decided.spec?.resources?.requests?.storage ?? '' },
          accessModes: ['ReadWriteOnce'],
          csi: { driver: DRIVER, volumeHandle: `handle-${name}` },
          claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid },
          storageClassName: 'fast',
        },
      },
    });
    const metadata = {
      ...decided.metadata,
      annotations: { ...decided.metadata?.annotations, 'pv.kubernetes.io/bind-completed': 'yes' },
    };
    await core.replaceNamespacedPersistentVolumeClaim({
      namespace,
      name,
      body: { ...decided, metadata, spec: { ...decided.spec, volumeName: volume } },
    });
    return decided.metadata?.annotations?.['volume.kubernetes.io/selected-node'] ?? '';
  }

  const nodeOf = (name: string): Promise<string> =>
    until(
      `pod ${name} is bound`,
      WAIT_MS,
      async () => (await core.readNamespacedPod({ namespace, name })).spec?.nodeName,
    );

  /** What people read with `kubectl describe pod`. */
  const whyNot = (name: string): Promise<string> =>
    until(`pod ${name} is told to be unschedulable`, WAIT_MS, async () => {
      const { status } = await core.readNamespacedPod({ namespace, name });
      return status?.conditions?.find(({ reason }) => reason === 'Unschedulable')?.message;
    });

  /** The first call of a verb, which tests without a scheduler play again. */
  function golden(verb: string, name: string): void {
    const call = recorder.calls.find((recorded) => recorded.verb === verb);
    assert(call !== undefined, `no call of ${verb}`);
    assert.equal(call.status, 200, call.answer);
    if (process.env.NABU_RECORD !== undefined) writeFileSync(join(GOLDEN, `${name}.json`), `${call.body.trimEnd()}\n`);
  }

  it('place a pod where its volume can be made and attached, with names alone', async () => {
    await claim('c1', '6Gi');
    await pod('p1', { claim: 'c1' });
    assert.equal(await provision('c1'), 'near');
    assert.equal(await nodeOf('p1'), 'near');
    golden('filter', 'filter-names');
    const answer = JSON.parse(recorder.calls.find(({ verb }) => verb === 'filter')?.answer ?? '{}');
    assert.deepEqual(answer.NodeNames, ['near']);
    assert.match(answer.FailedAndUnresolvableNodes.other, /has no capacity in zone b/);
  });

  it('tell people why no node takes a pod', async () => {
    await claim('c2', '6Gi');
    await pod('p2', { claim: 'c2' });
    assert.match(
      await whyNot('p2'),
      /claim default\/c2 asks for 6 GiB, class fast has 4 GiB in zone a beside what is reserved/,
    );
    await core.deleteNamespacedPod({ namespace, name: 'p2' });
  });

  it('take pods away for one that matters more, only where that is enough for its volume', async () => {
    await pod('low', { cpu: '3500m', node: 'near' });
    assert.equal(await nodeOf('low'), 'near');
    await claim('c3', '1Gi');
    await pod('urgent', { claim: 'c3', cpu: '3500m', high: true, node: 'near' });
    await until('the low pod has to go', WAIT_MS, async () => {
      const found = await core.readNamespacedPod({ namespace, name: 'low' }).catch(() => undefined);
      return found === undefined || found.metadata?.deletionTimestamp !== undefined ? true : undefined;
    });
    golden('preempt', 'preempt-meta-victims');
    await core.deleteNamespacedPod({ namespace, name: 'low', gracePeriodSeconds: 0 }).catch(() => undefined);
    assert.equal(await provision('c3'), 'near');
    assert.equal(await nodeOf('urgent'), 'near');
  });

  it('choose among several nodes by score', async () => {
    await pod('free');
    await nodeOf('free');
    golden('prioritize', 'prioritize-names');
  });

  it('do not speak of pods that have nothing of ours', async () => {
    const before = recorder.calls.length;
    for (const name of ['s1', 's2', 's3']) await pod(name, { stranger: true });
    for (const name of ['s1', 's2', 's3']) await nodeOf(name);
    assert.equal(recorder.calls.length, before);
  });

  it('speak of whole nodes, too', async () => {
    recorder.calls.splice(0);
    await plane.startScheduler({ port: recorder.port, nodeCacheCapable: false });
    await pod('whole');
    await nodeOf('whole');
    golden('filter', 'filter-nodes');
    golden('prioritize', 'prioritize-nodes');
    await pod('low2', { cpu: '3500m', node: 'other' });
    await nodeOf('low2');
    await pod('urgent2', { cpu: '3500m', high: true, node: 'other' });
    await until('whole victims are asked about', WAIT_MS, async () =>
      recorder.calls.some(({ verb }) => verb === 'preempt') ? true : undefined,
    );
    golden('preempt', 'preempt-victims');
  });
});
