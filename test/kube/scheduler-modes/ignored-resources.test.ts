import assert from 'node:assert/strict';
import { CoreV1Api } from '@kubernetes/client-node';
import { skip } from '../../support/skip.ts';
import { until } from '../host/until.ts';
import { Plane } from '../plane/plane.ts';
import { makeNode, untilPodsCanBeMade } from '../scheduler/cluster-objects.ts';

const namespace = 'default';
const WAIT_MS = 60_000;
const START_MS = 120_000;
const MARKER = 'nabustore.io/locality';

/** What docs/scheduler-extender.md warns of: kube-scheduler, buildExtenders. */
describe('resources that a scheduler with our extender ignores', () => {
  let plane: Plane;
  let core: CoreV1Api;

  before(async function () {
    this.timeout(START_MS);
    const missing = await Plane.missing();
    if (missing !== '') skip(this, missing);
    plane = await Plane.start();
    core = plane.config().makeApiClient(CoreV1Api);
    await untilPodsCanBeMade(plane.config(), namespace);
    await makeNode(plane.config(), 'n1');
    // Nobody is asked about pods without the marker: nobody has to be there.
    await start('listed', { ignoredResources: ['example.com/listed'] }, true);
    await start('grouped', { ignoredResourceGroups: ['example.com'] }, true);
    await start('without', {}, false);
  });
  after(async () => {
    await (plane as Plane | undefined)?.stop();
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
    await plane.configureScheduler(name, configuration);
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
