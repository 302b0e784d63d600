import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CoreV1Api } from '@kubernetes/client-node';
import { skip } from '../../support/skip.ts';
import { until } from '../host/until.ts';
import { makeNode, untilPodsCanBeMade } from '../scheduler/cluster-objects.ts';
import { SchedulerPlane } from '../scheduler/scheduler-plane.ts';
import { KubeScheduler } from './kube-scheduler.ts';

const namespace = 'default';
const WAIT_MS = 60_000;
const START_MS = 120_000;
const MARKER = 'nabustore.io/locality';

/** What docs/scheduler-extender.md warns of: kube-scheduler, buildExtenders. */
describe('resources that a scheduler with our extender ignores', () => {
  let plane: SchedulerPlane;
  let core: CoreV1Api;
  let folder: string;
  const schedulers: KubeScheduler[] = [];

  before(async function () {
    this.timeout(START_MS);
    const missing = await SchedulerPlane.missing();
    if (missing !== '') skip(this, missing);
    folder = await mkdtemp(join(tmpdir(), 'nabu-ignored-'));
    plane = await SchedulerPlane.start();
    core = plane.config().makeApiClient(CoreV1Api);
    await untilPodsCanBeMade(plane.config(), namespace);
    await makeNode(plane.config(), 'n1');
    // Nobody is asked about pods without the marker: nobody has to be there.
    await start('listed', { ignoredResources: ['example.com/listed'] }, true);
    await start('grouped', { ignoredResourceGroups: ['example.com'] }, true);
    await start('without', {}, false);
  });
  after(async () => {
    for (const scheduler of schedulers) await scheduler.stop();
    await (plane as SchedulerPlane | undefined)?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  async function start(name: string, args: object, isAsking: boolean): Promise<void> {
    const managedResources = [{ name: MARKER, ignoredByScheduler: true }];
    const extender = {
      urlPrefix: 'http://127.0.0.1:1',
      filterVerb: 'filter',
      nodeCacheCapable: true,
      managedResources,
    };
    const configuration = {
      apiVersion: 'kubescheduler.config.k8s.io/v1',
      kind: 'KubeSchedulerConfiguration',
      leaderElection: { leaderElect: false },
      clientConnection: { kubeconfig: plane.kubeconfig },
      profiles: [{ schedulerName: name, pluginConfig: [{ name: 'NodeResourcesFit', args }] }],
      ...(isAsking ? { extenders: [extender] } : {}),
    };
    schedulers.push(await KubeScheduler.start(folder, name, configuration));
  }

  async function make(name: string, schedulerName: string, resource: string): Promise<void> {
    const limits = { cpu: '10m', [resource]: '1' };
    const containers = [{ name: 'main', image: 'example.com/none', resources: { limits, requests: limits } }];
    await core.createNamespacedPod({ namespace, body: { metadata: { name }, spec: { schedulerName, containers } } });
  }

  const whyNot = (name: string): Promise<string> =>
    until(`pod ${name} is told to be unschedulable`, WAIT_MS, async () => {
      const { status } = await core.readNamespacedPod({ namespace, name });
      return status?.conditions?.find(({ reason }) => reason === 'Unschedulable')?.message;
    });

  it('are its extender alone, whatever its profiles list', async () => {
    await make('p1', 'listed', 'example.com/listed');
    assert.match(await whyNot('p1'), /Insufficient example\.com\/listed/);
  });

  it('are those of groups that a profile names too', async () => {
    await make('p2', 'grouped', 'example.com/grouped');
    const node = await until('the pod has a node', WAIT_MS, async () => {
      return (await core.readNamespacedPod({ namespace, name: 'p2' })).spec?.nodeName;
    });
    assert.equal(node, 'n1');
  });

  it('are none of a scheduler without it: pods that are marked wait there', async () => {
    await make('p3', 'without', MARKER);
    assert.match(await whyNot('p3'), /Insufficient nabustore\.io\/locality/);
  });
});
