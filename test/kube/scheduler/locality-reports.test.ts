import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ApiextensionsV1Api,
  type CoreV1Api,
  CustomObjectsApi,
  type KubeConfig,
  KubernetesObjectApi,
  loadYaml,
  ResourceV1Api,
  setHeaderOptions,
} from '@kubernetes/client-node';
import { Chart } from '../chart.ts';
import { run } from '../host/run.ts';
import { until } from '../host/until.ts';
import { makeNode } from './cluster-objects.ts';
import { onStage, type Stage } from './stage.ts';

const CRD = join(import.meta.dirname, '../../../charts/nabustore/crds/localityreports.nabustore.io.yaml');
const NABU = ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, '../../../cli/main.ts')];
const WAIT_MS = 60_000;
const KIND = { group: 'nabustore.io', version: 'v1alpha1', plural: 'localityreports' };
const MODEL = { kind: 'Model', id: 'llama', names: ['org/llama'], sizeBytes: 140e9, cachedBytes: 140e9, stored: true };

type Given = Readonly<Record<string, string>>;

describe('locality reports in a real API server', () => {
  let stage: Stage;
  let config: KubeConfig;
  let core: CoreV1Api;
  let objects: CustomObjectsApi;

  const report = (name: string, spec: object): object => {
    const given = { reportedAt: new Date().toISOString(), validSeconds: 600, ...spec };
    return { apiVersion: 'nabustore.io/v1alpha1', kind: 'LocalityReport', metadata: { name }, spec: given };
  };
  const publish = async (name: string, spec: object): Promise<void> => {
    await objects.createClusterCustomObject({ ...KIND, fieldValidation: 'Strict', body: report(name, spec) });
  };

  onStage(async (given) => {
    stage = given;
    ({ config, core } = stage);
    objects = config.makeApiClient(CustomObjectsApi);
    for (const name of ['a', 'b', 'c']) await makeNode(config, name);
    const definitions = config.makeApiClient(ApiextensionsV1Api);
    const body = loadYaml<Parameters<typeof definitions.createCustomResourceDefinition>[0]['body']>(
      readFileSync(CRD, 'utf8'),
    );
    await definitions.createCustomResourceDefinition({ body });
    await until('the resource is served', WAIT_MS, () => objects.listClusterCustomObject(KIND));
  });

  it('are refused by the schema where they make no sense, with the field', async () => {
    const cases: readonly [RegExp, object][] = [
      [/spec\.validSeconds/, { validSeconds: 4 }],
      [/spec\.validSeconds/, { validSeconds: 3601 }],
      [/spec\.reportedAt/, { reportedAt: 'now' }],
      [/spec\.linkLoadPercent/, { linkLoadPercent: 101 }],
      [/unknown field/, { linkLoad: 0.5 }],
      [/free is more than total/, { devices: [{ resource: 'nabustore.io/rdma', numaNode: 0, total: 1, free: 2 }] }],
      [/spec\.devices\[0\]\.resource/, { devices: [{ resource: 'cpu', numaNode: 0, total: 1, free: 1 }] }],
      [/spec\.contents\[0\]\.kind/, { contents: [{ ...MODEL, kind: 'Blob' }] }],
      [/spec\.contents\[0\]\.id/, { contents: [{ ...MODEL, id: 'a,b' }] }],
      [/spec\.contents\[0\]\.names\[0\]/, { contents: [{ ...MODEL, names: ['a b'] }] }],
      [/cachedBytes is more than sizeBytes/, { contents: [{ ...MODEL, sizeBytes: 1 }] }],
      [/spec\.contents\[1\]: Duplicate value/, { contents: [MODEL, MODEL] }],
      [/spec\.contents: Too many/, { contents: Array.from({ length: 129 }, (_, at) => ({ ...MODEL, id: `m${at}` })) }],
    ];
    for (const [reason, spec] of cases) {
      const refused = await publish('odd', spec).then(() => 'it was taken', String);
      assert.match(refused, reason);
    }
  });

  it('are published and shown by nabu locality, and belong to their node', async () => {
    const nabu = async (...args: string[]): Promise<string> =>
      await run(process.execPath, [...NABU, 'locality', ...args, '--kubeconfig', stage.kubeconfig]);
    await nabu('report', 'c', '--model', 'other,org/other=1G/2G', '--link-load', '40');
    await nabu('report', 'c', '--kv-cache', 'pool=3G', '--stored', '--valid', '30');
    const { spec, metadata } = await objects.getClusterCustomObject({ ...KIND, name: 'c' });
    const contents = [{ kind: 'KVCache', id: 'pool', sizeBytes: 3e9, cachedBytes: 3e9, stored: true }];
    assert.deepEqual([spec.contents, spec.validSeconds, spec.linkLoadPercent], [contents, 30, undefined]);
    assert.deepEqual(
      metadata.ownerReferences.map(({ kind, name }: { kind: string; name: string }) => [kind, name]),
      [['Node', 'c']],
    );
    assert.match(await nabu('ls'), /^c +\d+ s +- +pool 2.79 GiB$/m);
    await assert.rejects(nabu('report', 'nobody', '--model', 'm=1G'), /nodes "nobody" not found/);
    await assert.rejects(nabu('report', 'c', '--model', 'm=2G/1G'), /cachedBytes is more than sizeBytes/);
  });

  it('are published again and again by nabu locality, with what a file says then, until it is told to end', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nabu-locality-'));
    const file = join(folder, 'cached.json');
    writeFileSync(file, JSON.stringify({ contents: [MODEL] }));
    const args = ['locality', 'report', 'a', '--file', file, '--every', '1', '--kubeconfig', stage.kubeconfig];
    const child = spawn(process.execPath, [...NABU, ...args], { stdio: 'ignore' });
    const gone = once(child, 'exit');
    try {
      const specOf = async () => (await objects.getClusterCustomObject({ ...KIND, name: 'a' })).spec;
      const first = await until('there is a report', WAIT_MS, specOf);
      writeFileSync(file, JSON.stringify({ contents: [{ ...MODEL, cachedBytes: 5 }], linkLoadPercent: 7 }));
      await until('the next one says what is in the file', WAIT_MS, async () => {
        const { reportedAt, contents, linkLoadPercent } = await specOf();
        return reportedAt > first.reportedAt && contents[0].cachedBytes === 5 && linkLoadPercent === 7
          ? true
          : undefined;
      });
      child.kill('SIGTERM');
      assert.deepEqual(await gone, [0, null]);
    } finally {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await gone;
      rmSync(folder, { recursive: true });
      await objects.deleteClusterCustomObject({ ...KIND, name: 'a' });
    }
  });

  it('are written by a pod for its own node alone, unless it may for all', async function () {
    const chart = await Chart.open(this);
    const rendered = await chart.render({ schedulerExtender: { enabled: true } });
    const made = rendered.filter(({ metadata }) => metadata.name.endsWith('locality-reporter'));
    assert.deepEqual(
      made.map(({ kind }) => kind),
      ['ClusterRole', 'ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'],
    );
    const any = (config: KubeConfig): KubernetesObjectApi => KubernetesObjectApi.makeApiClient(config);
    const rbac = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding' };
    const subject = { apiGroup: 'rbac.authorization.k8s.io', kind: 'User' };
    const bound = (user: string, role: string) => ({
      ...rbac,
      metadata: { name: user },
      subjects: [{ ...subject, name: user }],
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
    });
    const [role] = made;
    for (const object of made) await any(config).create(object);
    await any(config).create(bound('agent', role?.metadata.name ?? ''));
    await any(config).create(bound('aggregator', 'cluster-admin'));

    const publishAs = async (user: string, fromNode: string, name: string): Promise<string> => {
      const how = setHeaderOptions('Impersonate-User', user);
      const node = setHeaderOptions('Impersonate-Extra-authentication.kubernetes.io%2fnode-name', fromNode, how);
      const objects = stage.plane.config().makeApiClient(CustomObjectsApi);
      const call = objects.createClusterCustomObject({ ...KIND, body: report(name, {}), dryRun: 'All' }, node);
      return await call.then(() => 'created', String);
    };
    await until('the policy to be in force', WAIT_MS, async () =>
      (await publishAs('agent', 'a', 'other')).includes('ValidatingAdmissionPolicy') ? true : undefined,
    );
    assert.equal(await publishAs('agent', 'x', 'x'), 'created');
    assert.match(await publishAs('agent', 'x', 'y'), /reports for its own node alone, not for/);
    assert.equal(await publishAs('aggregator', 'x', 'y'), 'created');
  });

  describe('and a real scheduler', () => {
    before(async () => {
      await publish('a', {
        linkLoadPercent: 10,
        devices: [{ resource: 'nabustore.io/rdma', numaNode: 0, total: 4, free: 4 }],
      });
      await publish('b', { contents: [MODEL] });
      const extender = await stage.readyExtender();
      await stage.plane.startScheduler({ port: extender.port, nodeCacheCapable: true });
    });

    const placed = async (name: string, annotations: Given, limits: Given, withinMs = WAIT_MS): Promise<string> => {
      const resources = { limits, requests: limits };
      const spec = { containers: [{ name: 'main', image: 'example.com/none', resources }] };
      await core.createNamespacedPod({ namespace: 'default', body: { metadata: { name, annotations }, spec } });
      return await until(`${name} has a node`, withinMs, async () => {
        const pod = await core.readNamespacedPod({ namespace: 'default', name });
        if (pod.spec?.nodeName === undefined) throw new Error(JSON.stringify(pod.status));
        return pod.spec.nodeName;
      });
    };

    it('lead a pod to the node that has its model', async () => {
      assert.equal(
        await placed('reader', { 'nabustore.io/models': 'org/llama' }, { 'nabustore.io/locality': '1' }),
        'b',
      );
    });

    it('stand back behind a device of a class; and no mark may be on a pod that asks for one, which then fits nowhere', async () => {
      const resources = config.makeApiClient(ResourceV1Api);
      const cel = { expression: "device.driver == 'devices.nabustore.io'" };
      const extendedResourceName = 'nabustore.io/rdma';
      const metadata = { name: 'rdma-extended.nabustore.io' };
      await resources.createDeviceClass({ body: { metadata, spec: { extendedResourceName, selectors: [{ cel }] } } });
      const attributes = {
        'nabustore.io/resource': { string: 'nabustore.io/rdma' },
        'nabustore.io/numaNode': { _int: 0 },
      };
      const pool = { name: 'c', generation: 1, resourceSliceCount: 1 };
      const slice = { driver: 'devices.nabustore.io', nodeName: 'c', pool, devices: [{ name: 'hca', attributes }] };
      await resources.createResourceSlice({ body: { metadata: { name: '000-c' }, spec: slice } });
      const asked = { 'nabustore.io/rdma': '1' };
      const marked = { ...asked, 'nabustore.io/locality': '1' };
      await assert.rejects(placed('marked', {}, marked, 5000), /cannot fit resource/);
      assert.equal(await placed('with-hca', { 'nabustore.io/models': 'org/llama' }, asked), 'c');
    });
  });
});
