import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import {
  AuthorizationV1Api,
  CoreV1Api,
  CustomObjectsApi,
  DiscoveryV1Api,
  type KubeConfig,
  KubernetesObjectApi,
  StorageV1Api,
  type V1Pod,
} from '@kubernetes/client-node';
import { parse, parseAllDocuments } from 'yaml';
import { get } from '../../support/extender/served.ts';
import { skip } from '../../support/skip.ts';
import { Chart, type Rendered } from '../chart.ts';
import { run } from '../host/run.ts';
import { until } from '../host/until.ts';
import { Plane } from '../plane/plane.ts';
import type { ExtenderProcess } from '../scheduler/extender-process.ts';
import { ChartInstall } from './chart-install.ts';
import { exampleConfiguration, MODEL_NODE, NAMESPACE, Site } from './site.ts';
import { BOTH_SCHEDULERS } from './values.ts';

const NABU = new URL('../../../cli/main.ts', import.meta.url).pathname;
const GUIDE = new URL('../../../docs/scheduler-extender.md', import.meta.url);
const WAIT_MS = 60_000;
const START_MS = 180_000;

const example = async (name: string): Promise<Rendered[]> => {
  const text = await readFile(new URL(`../../../docs/examples/${name}`, import.meta.url), 'utf8');
  return parseAllDocuments(text).map((document) => document.toJS() as Rendered);
};

/** docs/scheduler-extender.md, as somebody who reads it does it. */
describe('the guide of the scheduler extender', () => {
  let plane: Plane;
  let install: ChartInstall;
  let site: Site;
  let config: KubeConfig;
  let core: CoreV1Api;
  let guide: string;

  before(async function () {
    this.timeout(START_MS);
    const missing = await Plane.missing();
    if (missing !== '') skip(this, missing);
    const chart = await Chart.open(this);
    guide = await readFile(GUIDE, 'utf8');
    plane = await Plane.start();
    config = plane.config();
    core = config.makeApiClient(CoreV1Api);
    install = await ChartInstall.start(plane, chart, BOTH_SCHEDULERS);
    site = await Site.make(config);
    await install.untilAsked();
    await install.startScheduler('first', await exampleConfiguration(), plane.kubeconfig);
    await install.startSecondScheduler();
  });
  after(async () => {
    await (site as Site | undefined)?.stop();
    await (install as ChartInstall | undefined)?.stop();
    await (plane as Plane | undefined)?.stop();
  });

  async function apply(name: string, change: (pod: V1Pod) => void = () => undefined): Promise<void> {
    const api = KubernetesObjectApi.makeApiClient(config);
    for (const object of await example(name)) {
      if (object.kind === 'Pod') change(object as unknown as V1Pod);
      await api.create({ ...object, metadata: { namespace: NAMESPACE, ...object.metadata } });
    }
  }

  const nodeOf = (name: string): Promise<string> =>
    until(`${name} has a node`, WAIT_MS, async () => {
      return (await core.readNamespacedPod({ namespace: NAMESPACE, name })).spec?.nodeName;
    });

  async function explain(name: string): Promise<string> {
    const { caFile, certFile, keyFile } = install.files;
    const files = ['--ca', caFile, '--cert', certFile, '--key', keyFile];
    const where = ['--kubeconfig', plane.kubeconfig, '--extender', `https://localhost:${install.extender?.port}`];
    return await run(process.execPath, [NABU, 'explain', 'pod', name, ...where, ...files]);
  }

  it('has a pod that goes to the node with its model, and prints why as nabu does', async () => {
    await apply('near-its-model.yaml');
    assert.equal(await nodeOf('server'), MODEL_NODE);
    const { spec } = await core.readNamespacedPod({ namespace: NAMESPACE, name: 'server' });
    assert.equal(spec?.schedulerName, 'nabustore', 'it was sent to the profile that looks at all nodes');
    const [, printed = ''] = /<!-- explain -->\n```\n([\s\S]*?)```/.exec(guide) ?? [];
    const lines = (text: string): string[] => text.split('\n').map((line) => line.trimEnd());
    assert.deepEqual(lines(await explain('server')), lines(printed));
  });

  it('has a claim whose volume is made where its pod goes, and a pod that goes near to it', async () => {
    await apply('near-its-volume.yaml');
    const node = await nodeOf('trainer');
    assert.equal(site.provisioner.exhausted, 0);
    await until('the extender knows where the first is', WAIT_MS, async () =>
      (await explain('trainer')).includes(`in use on node ${node}`) ? true : undefined,
    );
    await apply('near-a-group.yaml');
    assert.equal(await nodeOf('evaluator'), node);
    assert.match(await explain('evaluator'), new RegExp(`${node} +\\S+ +10 `));
  });

  it('has a pod that asks for more than there is, and is told so', async () => {
    await apply('too-large.yaml');
    const reason = await until('the reason is told', WAIT_MS, async () => {
      const { status } = await core.readNamespacedPod({ namespace: NAMESPACE, name: 'hoarder' });
      return status?.conditions?.find((condition) => condition.reason === 'Unschedulable')?.message;
    });
    assert.match(reason, /claim default\/hoard asks for 100 GiB/);
  });

  it('has a second scheduler that places pods by their schedulerName, with the rights of its own account', async () => {
    await apply('near-its-model.yaml', (pod) => {
      pod.metadata = { ...pod.metadata, name: 'second' };
      if (pod.spec !== undefined) pod.spec.schedulerName = 'second';
    });
    assert.equal(await nodeOf('second'), MODEL_NODE);
    const { items } = await core.listNamespacedEvent({ namespace: NAMESPACE, fieldSelector: 'reason=Scheduled' });
    const by = items.find(({ involvedObject }) => involvedObject.name === 'second');
    assert.equal(by?.reportingComponent, 'second');
  });

  it('has a report that the API server takes', async () => {
    const [, text = ''] = /```yaml\n(apiVersion: nabustore\.io[\s\S]*?)```/.exec(guide) ?? [];
    const body = parse(text);
    body.metadata.name = 'gpu-b1-1';
    const kind = { group: 'nabustore.io', version: 'v1alpha1', plural: 'localityreports' };
    await config.makeApiClient(CustomObjectsApi).createClusterCustomObject({ ...kind, body, dryRun: 'All' });
  });

  it('has an extender that may wake schedulers, and may not touch what others publish of capacities', async () => {
    const [namespace, name] = ['nabustore', 'nabu-nabustore-scheduler-extender'];
    const storage = config.makeApiClient(StorageV1Api);
    await until('it has woken them when it began to answer', WAIT_MS, async () => {
      const { metadata } = await storage.readNamespacedCSIStorageCapacity({ namespace, name });
      return metadata?.annotations?.['nabustore.io/capacity-released-at'];
    });
    const [user, group, resource] = [
      `system:serviceaccount:${namespace}:${name}`,
      'storage.k8s.io',
      'csistoragecapacities',
    ];
    const may = async (verb: string, object: string): Promise<boolean | undefined> => {
      const resourceAttributes = { group, resource, namespace, verb, name: object };
      const body = { spec: { user, resourceAttributes } };
      return (await config.makeApiClient(AuthorizationV1Api).createSubjectAccessReview({ body })).status?.allowed;
    };
    assert.deepEqual(
      [await may('patch', name), await may('patch', 'csisc-1'), await may('update', name)],
      [true, false, false],
    );
  });

  it('leads its Service to the replica that answers, and to the next one when that ends', async () => {
    const first = install.extender;
    await untilServiceLeadsTo(first);
    const replica = await install.startReplica();
    await until('the other one stands by', WAIT_MS, async () => {
      const { status, text } = await get(replica.healthPort ?? 0, '/standbyz');
      if (status !== 200) throw new Error(text);
      return true;
    });
    assert.match((await get(replica.healthPort ?? 0, '/readyz')).text, /another one answers/);
    await first?.stop();
    await untilServiceLeadsTo(replica);
    assert.equal((await get(replica.healthPort ?? 0, '/readyz')).status, 200);
  });

  async function untilServiceLeadsTo(extender: ExtenderProcess | undefined): Promise<void> {
    const discovery = config.makeApiClient(DiscoveryV1Api);
    const name = 'nabu-nabustore-scheduler-extender';
    await until('the Service leads to it', WAIT_MS, async () => {
      const slice = await discovery.readNamespacedEndpointSlice({ namespace: 'nabustore', name });
      assert.equal(slice.metadata?.labels?.['kubernetes.io/service-name'], name);
      assert.equal(slice.endpoints?.length, 1);
      const ports = Object.fromEntries((slice.ports ?? []).map((port) => [port.name, port.port]));
      assert.deepEqual(ports, { https: extender?.port, health: extender?.healthPort });
      return true;
    });
  }
});
