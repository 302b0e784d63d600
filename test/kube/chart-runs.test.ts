import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { CoreV1Api } from '@kubernetes/client-node';
import { Chart, type Rendered } from './chart.ts';
import type { KubeCluster } from './cluster/index.ts';
import { freePorts } from './cluster/ports.ts';
import { until } from './host/until.ts';
import { NABUSTORE_IMAGE, writeNabustoreImage } from './images/nabustore-image.ts';
import { Namespace, pod } from './pods/index.ts';
import { sharedCluster } from './shared.ts';

const MOUNT = 'nabustore.io/hugetlbfs-2Mi';
const UNIT_BYTES = 16 << 20;
/** Less than containers have anyway: a runtime without CAP_SYS_RESOURCE may set it too. */
const MEMLOCK = String(4 << 20);
const READY_MS = 120_000;
const PREPARE_MS = 10 * 60_000;

/**
 * What the chart makes, with an image that has what a real one would, as the kubelet runs it: this machine has no HCA, but it
 * has huge pages.
 */
describe('what the chart makes, on a real node', function () {
  this.timeout(PREPARE_MS);
  let cluster: KubeCluster;
  let namespace: Namespace;
  let folder: string;
  let objects: readonly Rendered[] = [];

  before(async function () {
    const chart = await Chart.open(this);
    cluster = await sharedCluster(this);
    this.timeout(PREPARE_MS);
    folder = await mkdtemp(join(tmpdir(), 'nabu-chart-'));
    await writeNabustoreImage(join(folder, 'image.tar'));
    await cluster.importImage(join(folder, 'image.tar'));
    namespace = await Namespace.make(cluster);
    const { plugin, admission } = await freePorts(['plugin', 'admission']);
    const config = { version: 'v1', resources: [{ kind: 'hugetlbfs', pageSize: '2Mi', unitBytes: UNIT_BYTES }] };
    const values = {
      image: { ...NABUSTORE_IMAGE, pullPolicy: 'Never' },
      devicePlugin: {
        kubeletDir: cluster.kubeletDir,
        cdiDir: cluster.cdiDir,
        stateDir: join(folder, 'state'),
        metricsPort: plugin,
        config,
      },
      nri: { enabled: true, socketDir: dirname(cluster.nriSocket), memlock: MEMLOCK },
      admission: { replicas: 1, metricsPort: admission },
      policies: { enabled: false },
    };
    const rendered = await chart.render(values, namespace.name);
    // Nothing here leads from the API server to a Service: admission.test.ts has the webhook at an address of its own.
    objects = rendered.filter(({ kind }) => kind !== 'MutatingWebhookConfiguration');
    await cluster.apply(...objects);
  });

  after(async () => {
    if (namespace !== undefined) {
      await cluster.kubectl(['-n', namespace.name, 'delete', 'daemonsets,deployments', '--all', '--wait=true']);
      await namespace[Symbol.asyncDispose]();
    }
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  /** The pod of a component, when it is ready. */
  async function ready(component: string): Promise<string> {
    const core = await cluster.api(CoreV1Api);
    const labelSelector = `app.kubernetes.io/component=${component}`;
    const name = await until(`a pod of ${component}`, READY_MS, async () => {
      const { items } = await core.listNamespacedPod({ namespace: namespace.name, labelSelector });
      return items[0]?.metadata?.name;
    });
    await namespace.untilReady(name, READY_MS);
    return name;
  }

  it('is a device plugin and an NRI plugin without any capability, by which a pod gets huge pages and a limit', async () => {
    for (const component of ['device-plugin', 'nri']) {
      const name = await ready(component);
      const status = await namespace.exec(name, 'cat', '/proc/1/status');
      assert.match(status, /^CapEff:\s+0+$/m);
      assert.match(status, /^NoNewPrivs:\s+1$/m);
    }
    const core = await cluster.api(CoreV1Api);
    await until(`${MOUNT} on the node`, READY_MS, async () => {
      const { status: node } = await core.readNode({ name: cluster.node });
      return Number(node?.allocatable?.[MOUNT] ?? 0) > 0 ? true : undefined;
    });
    const asked = { cpu: '100m', memory: '64Mi', [MOUNT]: '1', 'hugepages-2Mi': '16Mi' };
    await namespace.create(pod('train', { resources: { limits: asked }, securityContext: { privileged: false } }));
    await namespace.untilReady('train');
    assert.match(await namespace.exec('train', '/bin/guest', 'map', '/dev/hugepages-2Mi/x', String(UNIT_BYTES)), /^ok/);
    const limits = await namespace.exec('train', 'cat', '/proc/1/limits');
    assert.match(limits, new RegExp(`^Max locked memory\\s+${MEMLOCK}\\s+${MEMLOCK}\\s`, 'm'));
  });

  it('is an admission server that is nobody and ready', async () => {
    const name = await ready('admission');
    const status = await namespace.exec(name, 'cat', '/proc/1/status');
    assert.match(status, /^Uid:\s+65532\s/m);
    assert.match(status, /^CapEff:\s+0+$/m);
  });
});
