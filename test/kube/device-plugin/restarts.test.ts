import assert from 'node:assert/strict';
import { AppsV1Api, type V1Pod } from '@kubernetes/client-node';
import type { KubeCluster } from '../cluster/index.ts';
import { until } from '../host/until.ts';
import { Namespace, pod } from '../pods/index.ts';
import { sharedCluster } from '../shared.ts';
import { TestDevicePlugin } from './device-plugin.ts';
import { ADDRESSES, asking, HCA_VARIABLE, HCAS, OFFERED, RESOURCES } from './h200-node.ts';
import { NodeMachine } from './node-machine.ts';

const RECOVER_MS = 60_000;
const ONE = { 'nabustore.io/rdma': '1' };

const containers = ({ status }: V1Pod): string =>
  JSON.stringify(status?.containerStatuses?.map((one) => one.containerID));

describe('nabu device-plugin and the kubelet, when one of them restarts', () => {
  let cluster: KubeCluster;
  let machine: NodeMachine;
  let plugin: TestDevicePlugin;

  before(async function () {
    cluster = await sharedCluster(this);
    machine = await NodeMachine.make();
    plugin = await TestDevicePlugin.start(cluster, machine, { resources: RESOURCES, addresses: ADDRESSES });
    await plugin.untilOffered(OFFERED);
  });

  after(async () => {
    await (plugin as TestDevicePlugin | undefined)?.[Symbol.asyncDispose]();
    await (machine as NodeMachine | undefined)?.[Symbol.asyncDispose]();
  });

  /** A pod goes on undisturbed with its HCA over `restart`, and the others are there for others after it. */
  async function keepsEverything(restart: () => Promise<void>): Promise<void> {
    await using namespace = await Namespace.make(cluster);
    await namespace.create(pod('holder', asking(ONE)));
    const before = await namespace.untilReady('holder');
    const held = await namespace.variable('holder', HCA_VARIABLE);
    const since = Date.now();
    await restart();
    await plugin.untilOffered(OFFERED, since);
    await namespace.create(pod('rest', asking({ 'nabustore.io/rdma': '3' })));
    await namespace.untilReady('rest');
    assert.equal(containers(await namespace.read('holder')), containers(before));
    const rest = (await namespace.variable('rest', HCA_VARIABLE)).split(',');
    assert.deepEqual([held, ...rest].sort(), Object.keys(HCAS).sort());
    await namespace.create(pod('more', asking(ONE)));
    assert.match(await namespace.untilUnschedulable('more'), /Insufficient nabustore\.io\/rdma/);
  }

  it('keeps everything over a restart of the kubelet', async () => {
    await keepsEverything(() => cluster.restartKubelet());
  });

  it('keeps everything over a kubelet that is killed', async () => {
    await keepsEverything(async () => {
      await cluster.stopKubelet('SIGKILL');
      await cluster.startKubelet();
    });
  });

  it('keeps everything over a restart of the plugin', async () => {
    await keepsEverything(async () => {
      await plugin.stop();
      await plugin.start();
    });
  });

  it('keeps everything over a plugin that is killed', async () => {
    await keepsEverything(async () => {
      await plugin.stop('SIGKILL');
      await plugin.start();
    });
  });

  it('gives a container that starts again after both have restarted what it had', async () => {
    await using namespace = await Namespace.make(cluster);
    // The first process of a container hears only the signals that it asks for.
    const command = ['/bin/sh', '-c', 'trap "exit 1" TERM; sleep 2147483647 & wait'];
    const wanted = { ...ONE, 'nabustore.io/cufile': '1' };
    await namespace.create(pod('again', { ...asking(wanted), command }, { restartPolicy: 'Always' }));
    const before = await namespace.untilReady('again');
    const look = async (): Promise<string[]> => [
      await namespace.exec('again', 'ls', '/dev/infiniband'),
      await namespace.exec('again', 'cat', await namespace.variable('again', 'CUFILE_ENV_PATH_JSON')),
    ];
    const had = await look();
    const since = Date.now();
    await cluster.restartKubelet();
    await plugin.stop();
    await plugin.start();
    await plugin.untilOffered(OFFERED, since);
    // It may be gone before it can say that it was done.
    await namespace.exec('again', 'kill', '-TERM', '1').catch(() => undefined);
    await until('the container to be another', RECOVER_MS, async () =>
      containers(await namespace.read('again')) === containers(before) ? undefined : true,
    );
    await namespace.untilReady('again');
    assert.deepEqual(await look(), had);
  });

  it('leaves no pod behind that was admitted before the plugin had registered', async () => {
    await using namespace = await Namespace.make(cluster);
    await namespace.create(pod('holder', asking(ONE)));
    const before = await namespace.untilReady('holder');
    await cluster.stopKubelet();
    await plugin.stop();
    // The scheduler believes what the node said last.
    const labels = { app: 'early' };
    const template = { ...pod('early', asking(ONE)), metadata: { labels } };
    const spec = { ...template.spec, restartPolicy: 'Always', containers: template.spec?.containers ?? [] };
    await (await cluster.api(AppsV1Api)).createNamespacedDeployment({
      namespace: namespace.name,
      body: {
        metadata: { name: 'early' },
        spec: { replicas: 1, selector: { matchLabels: labels }, template: { ...template, spec } },
      },
    });
    const early = async (holds: (one: V1Pod) => boolean): Promise<V1Pod | undefined> =>
      (await namespace.list()).find((one) => one.metadata?.labels?.app === 'early' && holds(one));
    await until('the pod to be bound', RECOVER_MS, () => early(({ spec: bound }) => bound?.nodeName !== undefined));
    await cluster.startKubelet();
    const refused = await until('the kubelet to refuse it', RECOVER_MS, () =>
      early(({ status }) => status?.phase === 'Failed'),
    );
    assert.equal(refused.status?.reason, 'UnexpectedAdmissionError');
    await plugin.start();
    const well = await until('a pod of the deployment to be ready', RECOVER_MS, () =>
      early(({ status }) => status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true),
    );
    assert(HCAS[await namespace.variable(well.metadata?.name ?? '', HCA_VARIABLE)] !== undefined);
    assert.equal(containers(await namespace.read('holder')), containers(before));
    await (await cluster.api(AppsV1Api)).deleteNamespacedDeployment({ name: 'early', namespace: namespace.name });
  });
});
