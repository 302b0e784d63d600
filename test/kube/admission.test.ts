import assert from 'node:assert/strict';
import { CoreV1Api, type V1Container, type V1Pod } from '@kubernetes/client-node';
import { type Random, SeededRandom } from '../../common/ports/index.ts';
import { podSchema } from '../../device-plugin/admission/pod-view.ts';
import { reviewPod } from '../../device-plugin/admission/review-pod.ts';
import { AdmissionProcess } from '../support/admission-process.ts';
import { patched } from '../support/pod.ts';
import { Chart, type Rendered } from './chart.ts';
import { Authority } from './cluster/certificates.ts';
import type { KubeCluster } from './cluster/index.ts';
import { until } from './host/until.ts';
import { Namespace, pod } from './pods/index.ts';
import { sharedCluster } from './shared.ts';

const MOUNT = 'nabustore.io/hugetlbfs-2Mi';
const PAGES = 'hugepages-2Mi';
const POLICIES = ['ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'];
const IN_FORCE_MS = 60_000;

/** Values that hold in the namespaces of one test alone: others may use the same cluster. */
function valuesFor(test: string, admission: object = {}): object {
  const namespaceSelector = { matchLabels: { 'nabustore.io/test': test } };
  return { policies: { namespaceSelector }, admission: { namespaceSelector, ...admission } };
}

const asking = (limits: Record<string, string>): Partial<V1Container> => ({
  resources: { limits: { cpu: '10m', memory: '16Mi', ...limits } },
});

/** What the API server makes of a pod; rejects with its sentence. Nothing is made. */
async function dryRun(cluster: KubeCluster, namespace: Namespace, body: V1Pod): Promise<V1Pod> {
  const core = await cluster.api(CoreV1Api);
  return await core.createNamespacedPod({ namespace: namespace.name, body, dryRun: 'All' });
}

async function refusalOf(cluster: KubeCluster, namespace: Namespace, body: V1Pod): Promise<string> {
  const made = await dryRun(cluster, namespace, body).catch((err: unknown) => {
    return String(JSON.parse(String(Reflect.get(Object(err), 'body'))).message);
  });
  assert(typeof made === 'string', 'it was admitted');
  return made;
}

async function labelled(cluster: KubeCluster, test: string): Promise<Namespace> {
  const namespace = await Namespace.make(cluster);
  await cluster.kubectl(['label', 'namespace', namespace.name, `nabustore.io/test=${test}`]);
  return namespace;
}

async function remove(cluster: KubeCluster, objects: readonly Rendered[]): Promise<void> {
  for (const { kind, metadata } of objects) {
    await cluster.kubectl(['delete', kind, metadata.name, '--ignore-not-found', '--wait=true']);
  }
}

describe('the policy for hugetlbfs', () => {
  let cluster: KubeCluster;
  let chart: Chart;
  let namespace: Namespace;
  let objects: readonly Rendered[] = [];

  before(async function () {
    chart = await Chart.open(this);
    cluster = await sharedCluster(this);
    namespace = await labelled(cluster, 'policy');
    const rendered = await chart.render(valuesFor('policy'));
    objects = rendered.filter(({ kind }) => POLICIES.includes(kind));
    await cluster.apply(...objects);
    // The API server takes some time to heed a new policy.
    await until('the policy to be in force', IN_FORCE_MS, async () => {
      const made = await dryRun(cluster, namespace, pod('probe', asking({ [MOUNT]: '1' }))).catch(() => undefined);
      return made === undefined ? true : undefined;
    });
  });

  after(async () => {
    if (cluster === undefined) return;
    await remove(cluster, objects);
    await namespace[Symbol.asyncDispose]();
  });

  it('has no expression that the API server warns of', async () => {
    for (const { kind, metadata } of objects.filter((object) => object.kind === POLICIES[0])) {
      const status = await until(`the API server's opinion of ${metadata.name}`, IN_FORCE_MS, async () => {
        const found = JSON.parse(await cluster.kubectl(['get', kind, metadata.name, '-o', 'json']));
        return found.status?.observedGeneration === undefined ? undefined : found.status;
      });
      assert.deepEqual(status.typeChecking ?? {}, {});
    }
  });

  it('refuses a container that has a mount and no pages, with a sentence', async () => {
    assert.match(
      await refusalOf(cluster, namespace, pod('none', asking({ [MOUNT]: '2' }))),
      /: container main asks for 2 of nabustore\.io\/hugetlbfs-2Mi, which hold 134217728 bytes, and for hugepages-2Mi: none\. Ask for at least as many bytes of hugepages-2Mi$/,
    );
  });

  it('refuses one that has fewer pages, init containers and sidecars too', async () => {
    const few = asking({ [MOUNT]: '1', [PAGES]: '62Mi' });
    assert.match(
      await refusalOf(cluster, namespace, pod('few', few)),
      /container main asks for 1 of .* hugepages-2Mi: 62Mi\./,
    );
    const init: V1Container = { name: 'warm', image: 'nabustore.test/busybox:1', ...few };
    for (const restartPolicy of [undefined, 'Always']) {
      const body = pod('init', asking({}), { initContainers: [{ ...init, ...(restartPolicy && { restartPolicy }) }] });
      assert.match(await refusalOf(cluster, namespace, body), /container warm asks for 1 of/);
    }
  });

  it('admits one that has enough, and whatever asks for nothing of ours', async () => {
    await dryRun(cluster, namespace, pod('enough', asking({ [MOUNT]: '1', [PAGES]: '64Mi' })));
    await dryRun(cluster, namespace, pod('more', asking({ [MOUNT]: '1', [PAGES]: '1Gi' })));
    await dryRun(cluster, namespace, pod('other', asking({ 'nabustore.io/rdma': '1' })));
    await dryRun(cluster, namespace, pod('none', {}));
  });

  it('refuses nothing that the webhook lets through', async () => {
    const random = new SeededRandom(7);
    const units = [{ pageSize: '2Mi' as const, unitBytes: 64 << 20, mountPath: '/dev/hugepages-2Mi' }];
    let admitted = 0;
    for (let at = 0; at < 200; at++) {
      const given = anyPod(random);
      const review = reviewPod(podSchema.parse(given), units);
      if (!review.isAllowed) continue;
      const said = await dryRun(cluster, namespace, patched(given, review.patch) as V1Pod).then(
        () => '',
        (err: unknown) => String(Reflect.get(Object(err), 'body')),
      );
      assert.doesNotMatch(said, /ValidatingAdmissionPolicy/, JSON.stringify(given));
      if (said === '') admitted++;
    }
    assert(admitted > 50, String(admitted));
  });

  it('counts the pages of a pod as a whole, once for all containers', async () => {
    const main: V1Container = { name: 'main', image: 'x', resources: { limits: { [MOUNT]: '1' } } };
    const resources = { limits: { cpu: '1', memory: '1Gi', [PAGES]: '64Mi' } };
    await dryRun(cluster, namespace, pod('one', {}, { containers: [main], resources }));
    const two = pod('two', {}, { containers: [main, { ...main, name: 'other' }], resources });
    assert.match(
      await refusalOf(cluster, namespace, two),
      /hold 134217728 bytes together, and the pod as a whole for hugepages-2Mi: 64Mi/,
    );
  });
});

/** Containers that ask for mounts and for pages, enough and not, beside pages of the pod as a whole. */
function anyPod(random: Random): V1Pod {
  const upTo = (most: number): number => Math.floor(random.float() * (most + 1));
  const container = (name: string): V1Container => {
    const [mounts, pages] = [upTo(2), upTo(4)];
    const limits = {
      ...(mounts > 0 && { [MOUNT]: String(mounts) }),
      ...(pages > 1 && { [PAGES]: `${64 * (pages - 1)}Mi` }),
    };
    return { name, image: 'x', resources: { limits: { cpu: '10m', ...limits } } };
  };
  const containers = Array.from({ length: 1 + upTo(1) }, (_, at) => container(`main-${at}`));
  const initContainers = Array.from({ length: upTo(2) }, (_, at): V1Container => {
    return { ...container(`init-${at}`), ...(random.float() < 0.5 && { restartPolicy: 'Always' }) };
  });
  const whole = upTo(6);
  const resources = whole > 2 ? { limits: { cpu: '1', [PAGES]: `${64 * (whole - 2)}Mi` } } : undefined;
  return pod('any', {}, { containers, initContainers, ...(resources && { resources }) });
}

describe('the admission webhook', () => {
  let cluster: KubeCluster;
  let chart: Chart;
  let server: AdmissionProcess;
  let namespace: Namespace;
  let objects: readonly Rendered[] = [];

  before(async function () {
    chart = await Chart.open(this);
    cluster = await sharedCluster(this);
    server = await AdmissionProcess.start();
    namespace = await labelled(cluster, 'webhook');
    const url = server.url.replace(/\/mutate-pods$/, '');
    // Without the policy, which would refuse what the webhook should have changed; failing, so that nothing comes past it.
    const tls = { source: 'secret', secretName: 'unused', caBundle: server.authority.pem, url };
    const rendered = await chart.render(valuesFor('webhook', { failurePolicy: 'Fail', tls }));
    objects = rendered.filter(({ kind }) => kind === 'MutatingWebhookConfiguration');
    assert.equal(objects.length, 1);
    await cluster.apply(...objects);
    await until('the webhook to be in force', IN_FORCE_MS, async () => {
      const made = await dryRun(cluster, namespace, pod('probe', asking({ [MOUNT]: '1' })));
      return made.spec?.containers[0]?.resources?.limits?.[PAGES] === undefined ? undefined : true;
    });
  });

  after(async () => {
    if (cluster !== undefined) await remove(cluster, objects);
    await server?.stop();
    await namespace?.[Symbol.asyncDispose]();
  });

  it('gives a container the pages that its mounts hold', async () => {
    const { spec } = await dryRun(cluster, namespace, pod('train', asking({ [MOUNT]: '2' })));
    const wanted = { cpu: '10m', memory: '16Mi', [MOUNT]: '2', [PAGES]: '128Mi' };
    const { limits, requests } = spec?.containers[0]?.resources ?? {};
    assert.deepEqual([limits, requests], [wanted, wanted]);
  });

  it('refuses a contradiction with its sentence', async () => {
    assert.equal(
      await refusalOf(cluster, namespace, pod('train', asking({ [MOUNT]: '2', [PAGES]: '64Mi' }))),
      'admission webhook "pods.nabustore.io" denied the request: container main asks for 2 of nabustore.io/hugetlbfs-2Mi, ' +
        'which hold 128Mi, and only for hugepages-2Mi: 64Mi. Ask for hugepages-2Mi: 128Mi or more, or leave hugepages-2Mi ' +
        'out and it is added',
    );
  });

  it('warns of what may be meant', async () => {
    const body = pod('train', asking({ 'nabustore.io/cufile': '1' }));
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'Pod', ...body });
    const args = ['-n', namespace.name, 'create', '-f', '-', '--dry-run=server', '--warnings-as-errors'];
    await assert.rejects(
      cluster.kubectl(args, { input }),
      /Warning: container main: nabustore\.io\/cufile is of use only beside a GPU/,
    );
  });

  it('is not asked about pods that ask for nothing of ours: they are made while it is away', async () => {
    await server.stop();
    await dryRun(cluster, namespace, pod('plain', asking({})));
    assert.match(
      await refusalOf(cluster, namespace, pod('train', asking({ 'nabustore.io/rdma': '1' }))),
      /failed calling webhook "pods\.nabustore\.io"/,
    );
  });
});

describe('the admission webhook and the policy, as the chart has them, while the webhook is away', () => {
  let cluster: KubeCluster;
  let namespace: Namespace;
  let objects: readonly Rendered[] = [];

  before(async function () {
    const chart = await Chart.open(this);
    cluster = await sharedCluster(this);
    namespace = await labelled(cluster, 'away');
    // Where nobody listens: the API server gets no connection.
    const tls = {
      source: 'secret',
      secretName: 'unused',
      caBundle: (await Authority.make()).pem,
      url: 'https://127.0.0.1:1',
    };
    const rendered = await chart.render(valuesFor('away', { tls }));
    objects = rendered.filter(({ kind }) => [...POLICIES, 'MutatingWebhookConfiguration'].includes(kind));
    await cluster.apply(...objects);
    await until('the policy to be in force', IN_FORCE_MS, async () => {
      const made = await dryRun(cluster, namespace, pod('probe', asking({ [MOUNT]: '1' }))).catch(() => undefined);
      return made === undefined ? true : undefined;
    });
  });
  after(async () => {
    if (cluster !== undefined) await remove(cluster, objects);
    await namespace?.[Symbol.asyncDispose]();
  });

  it('admit a pod that names its pages, and refuse one that does not, with a sentence', async () => {
    await dryRun(cluster, namespace, pod('whole', asking({ [MOUNT]: '1', [PAGES]: '64Mi' })));
    await dryRun(cluster, namespace, pod('other', asking({ 'nabustore.io/rdma': '1' })));
    assert.match(
      await refusalOf(cluster, namespace, pod('bare', asking({ [MOUNT]: '1' }))),
      /container main asks for 1 of .*, and for hugepages-2Mi: none\. Ask for at least as many bytes/,
    );
  });
});
