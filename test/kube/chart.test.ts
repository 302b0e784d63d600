import assert from 'node:assert/strict';
import { CoreV1Api } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { parsePluginConfig } from '../../device-plugin/config/index.ts';
import { Chart, type Rendered } from './chart.ts';
import type { KubeCluster } from './cluster/index.ts';
import { sharedCluster } from './shared.ts';

const EVERYTHING = { devicePlugin: { dra: true, draExtendedResources: true, labels: true }, nri: { enabled: true } };
const SCHEDULING = {
  schedulerExtender: { enabled: true, extraArgs: ['--worst-ratio=3'] },
  schedulerAdmission: { enabled: true, schedulers: ['mine'] },
  scheduler: { enabled: true, image: 'example.com/kube-scheduler:v1.36.3' },
};
const NAMESPACE = 'nabustore-chart';

const ofKind = (objects: readonly Rendered[], kind: string): readonly Rendered[] =>
  objects.filter((object) => object.kind === kind);

describe('the chart', () => {
  let chart: Chart;
  let cluster: KubeCluster;

  before(async function () {
    chart = await Chart.open(this);
    cluster = await sharedCluster(this);
    const core = await cluster.api(CoreV1Api);
    await core.createNamespace({ body: { metadata: { name: NAMESPACE } } });
  });
  after(async () => {
    await cluster?.kubectl(['delete', 'namespace', NAMESPACE, '--ignore-not-found', '--wait=false']);
  });

  for (const [name, values] of Object.entries({
    'as it comes': {},
    'with everything': EVERYTHING,
    'with the extender and a second scheduler': SCHEDULING,
  })) {
    it(`passes helm lint and the real API server's validation ${name}`, async () => {
      await chart.lint(values);
      const objects = await chart.render(values, NAMESPACE);
      const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
      const said = await cluster.kubectl(['apply', '--dry-run=server', '--validate=strict', '-f', '-'], { input });
      assert.equal(said.trim().split('\n').length, objects.length, said);
    });
  }

  it('makes nothing that is turned off', async () => {
    const off = { devicePlugin: { enabled: false }, admission: { enabled: false }, policies: { enabled: false } };
    assert.deepEqual(await chart.render(off), []);
  });

  it('gives cert-manager what it needs to make and inject the certificate', async () => {
    const objects = await chart.render({ admission: { tls: { source: 'cert-manager' } } });
    assert.equal(ofKind(objects, 'Certificate').length, 1);
    const [webhook] = ofKind(objects, 'MutatingWebhookConfiguration');
    const annotations = Reflect.get(Object(webhook?.metadata), 'annotations');
    assert.deepEqual(annotations, { 'cert-manager.io/inject-ca-from': 'nabustore/nabu-nabustore-admission' });
  });

  it('has cert-manager make an authority for the extender alone, and a certificate that schedulers show', async () => {
    const tls = { source: 'cert-manager' };
    const objects = await chart.render({
      schedulerExtender: { enabled: true, tls },
      schedulerAdmission: { enabled: true, tls },
      scheduler: SCHEDULING.scheduler,
      admission: { enabled: false },
    });
    const certificates = ofKind(objects, 'Certificate').map(({ metadata, spec }) => {
      const { secretName, isCA = false, usages = [] } = Object(spec);
      return { name: metadata.name, secretName, isCA, client: usages.includes('client auth') };
    });
    const [extender, admission] = ['nabu-nabustore-scheduler-extender', 'nabu-nabustore-scheduler-admission'];
    assert.deepEqual(
      certificates.sort((a, b) => a.name.localeCompare(b.name)),
      [
        { name: admission, secretName: `${admission}-tls`, isCA: false, client: false },
        { name: extender, secretName: `${extender}-tls`, isCA: false, client: false },
        { name: `${extender}-ca`, secretName: `${extender}-ca`, isCA: true, client: false },
        { name: `${extender}-client`, secretName: `${extender}-client-tls`, isCA: false, client: true },
      ],
    );
    const text = JSON.stringify(ofKind(objects, 'Deployment'));
    for (const name of [`${extender}-tls`, `${extender}-client-tls`, `${admission}-tls`]) {
      assert(text.includes(`"secretName":"${name}"`), name);
    }
    const [webhook] = ofKind(objects, 'MutatingWebhookConfiguration');
    const annotations = Reflect.get(Object(webhook?.metadata), 'annotations');
    assert.deepEqual(annotations, { 'cert-manager.io/inject-ca-from': `nabustore/${admission}` });
    const without = { schedulerExtender: { enabled: true, tls: { source: 'secret' } } };
    await assert.rejects(chart.render(without), /schedulerExtender\.tls\.secretName is needed/);
  });

  it('has names that a Service may have, however long the name of the release is', async () => {
    const objects = await chart.render(SCHEDULING, 'nabustore', 'r'.repeat(53));
    for (const { metadata } of ofKind(objects, 'Service')) assert(metadata.name.length <= 63, metadata.name);
  });

  it('has a second scheduler that asks the extender in time, for marked pods alone, with a Lease of its own', async () => {
    const objects = await chart.render(SCHEDULING);
    const [map] = ofKind(objects, 'ConfigMap').filter(({ metadata }) => metadata.name === 'nabu-nabustore-scheduler');
    const { leaderElection, profiles, extenders } = parse(String(Reflect.get(Object(map?.data), 'scheduler.yaml')));
    assert.deepEqual(leaderElection, {
      leaderElect: true,
      resourceNamespace: 'nabustore',
      resourceName: 'nabu-nabustore-scheduler',
    });
    assert.deepEqual(profiles, [{ schedulerName: 'nabustore' }]);
    const [{ httpTimeout, nodeCacheCapable, weight, managedResources, bindVerb }] = extenders;
    assert.deepEqual(
      { httpTimeout, nodeCacheCapable, weight, managedResources, bindVerb },
      {
        httpTimeout: '100ms',
        nodeCacheCapable: true,
        weight: 20,
        managedResources: [{ name: 'nabustore.io/locality', ignoredByScheduler: true }],
        bindVerb: undefined,
      },
    );
    const admission = ofKind(objects, 'Deployment').map((object) => JSON.stringify(object));
    assert(admission.some((text) => text.includes('--schedulers=nabustore,mine')));
    await assert.rejects(chart.render({ scheduler: { enabled: true } }), /needs schedulerExtender/);
    const sent = { ...SCHEDULING, schedulerAdmission: { enabled: true, sendTo: 'profile', adviseOthers: false } };
    const text = JSON.stringify(await chart.render(sent));
    assert(text.includes('--schedulers=nabustore,profile') && text.includes('--send-to=profile'));
    assert(
      text.includes("in ['nabustore','profile','default-scheduler']"),
      'pods that name no scheduler are looked at',
    );
  });

  it('refuses values that are not its own, by name', async () => {
    await assert.rejects(chart.render({ admision: {} }), /admision/);
    await assert.rejects(chart.render({ admission: { failurePolicy: 'Maybe' } }), /failurePolicy/);
    await assert.rejects(chart.render({ admission: { tls: { source: 'secret' } } }), /tls\.secretName is needed/);
    const short = { resources: [{ kind: 'hugetlbfs', pageSize: '4Mi', unitBytes: 1 }], version: 'v1' };
    await assert.rejects(chart.render({ devicePlugin: { config: short } }), /pageSize/);
    const claims = { resources: [{ kind: 'rdma', mode: 'dra' }], version: 'v1' };
    await assert.rejects(chart.render({ devicePlugin: { config: claims } }), /set devicePlugin\.dra too/);
  });

  it('has one configuration for the plugin, admission and the policy, with whole numbers whole', async () => {
    const resources = [{ kind: 'hugetlbfs', pageSize: '1Gi', unitBytes: 64 * 2 ** 30 }];
    const objects = await chart.render({ devicePlugin: { config: { version: 'v1', resources } } });
    const [map] = ofKind(objects, 'ConfigMap');
    const text = String(Reflect.get(Object(map?.data), 'device-plugin.yaml'));
    assert.match(text, /"unitBytes": 68719476736\b/);
    assert.deepEqual(parsePluginConfig(text, 'the ConfigMap').resources, resources);
    const policies = ofKind(objects, 'ValidatingAdmissionPolicy');
    assert.deepEqual(
      policies.map(({ metadata }) => metadata.name),
      ['nabu-nabustore-hugetlbfs-1gi'],
    );
    assert.match(JSON.stringify(policies), /\* 68719476736\b/);
    for (const kind of ['DaemonSet', 'Deployment']) {
      assert.match(JSON.stringify(ofKind(objects, kind)), new RegExp(`"configMap":{"name":"${map?.metadata.name}"}`));
    }
  });

  it('gives no pod of its own a privilege or a token that it does not use', async () => {
    const pods = (objects: readonly Rendered[]): readonly string[] =>
      [...ofKind(objects, 'DaemonSet'), ...ofKind(objects, 'Deployment')].map((object) => JSON.stringify(object));
    for (const text of pods(await chart.render())) {
      assert.match(text, /"automountServiceAccountToken":false/);
      assert.doesNotMatch(text, /"privileged":true|"hostPID":true|"hostIPC":true|"add":\[/);
      assert.match(text, /"drop":\["ALL"\]/);
      assert.match(text, /"readOnlyRootFilesystem":true/);
    }
    assert.deepEqual(ofKind(await chart.render(), 'ClusterRole'), []);
    assert.equal(ofKind(await chart.render(EVERYTHING), 'ClusterRole').length, 1);
  });
});
