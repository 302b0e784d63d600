import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  AdmissionregistrationV1Api,
  type CoreV1Api,
  type KubeConfig,
  type V1MutatingWebhookConfiguration,
  type V1Pod,
} from '@kubernetes/client-node';
import { get } from '../../support/extender/served.ts';
import { Chart } from '../chart.ts';
import { until } from '../host/until.ts';
import { makeNode } from '../scheduler/cluster-objects.ts';
import type { ExtenderProcess } from '../scheduler/extender-process.ts';
import { NAMESPACE as namespace, onStage, type Stage } from '../scheduler/stage.ts';
import { SchedulerAdmissionProcess } from './admission-process.ts';

const NABU = join(import.meta.dirname, '../../../cli/main.ts');
const GATE = 'nabustore.io/extender';
const MARKER = 'nabustore.io/locality';
const WAIT_MS = 60_000;
const MODEL = { 'nabustore.io/models': 'llama' };

describe('the webhook for schedulers, the gate, and a real API server', () => {
  let chart: Chart;
  let stage: Stage;
  let config: KubeConfig;
  let core: CoreV1Api;
  let health: Server;
  let isHealthy = false;
  let admission: SchedulerAdmissionProcess;
  let extender: ExtenderProcess;
  const flags = (): string[] => {
    const { port } = health.address() as AddressInfo;
    const gate = ['--gate-rate', '5', '--gate-burst', '2', '--extender', `http://127.0.0.1:${port}`];
    return ['--schedulers', 'default-scheduler', '--lease', `${namespace}/gates`, ...gate];
  };

  before(async function () {
    chart = await Chart.open(this);
  });
  onStage(async (given) => {
    stage = given;
    ({ config, core } = stage);
    health = createServer((_, response) => response.writeHead(isHealthy ? 200 : 503).end('as the test says'));
    health.listen(0, '127.0.0.1');
    await once(health, 'listening');
    stage.endsWith(async () => health.close());
    await makeNode(config, 'n1');
    extender = await stage.readyExtender();
    await stage.plane.startScheduler({ port: extender.port, nodeCacheCapable: true });
    admission = await SchedulerAdmissionProcess.start(stage.kubeconfig, ...flags());
    stage.endsWith(() => admission.stop());
    await admission.untilReady();
    await register();
  });

  /** The configuration of the chart, with the process of this test behind it. */
  async function register(): Promise<void> {
    const tls = { source: 'secret', secretName: 'unused', caBundle: admission.authority, url: admission.url };
    const objects = await chart.render({ schedulerAdmission: { enabled: true, schedulers: ['x'], gates: false, tls } });
    const found = objects.find(({ kind, metadata }) => {
      return kind === 'MutatingWebhookConfiguration' && metadata.name.endsWith('scheduler-admission');
    });
    assert(found !== undefined);
    const registration = config.makeApiClient(AdmissionregistrationV1Api);
    const body = found as unknown as V1MutatingWebhookConfiguration;
    await registration.createMutatingWebhookConfiguration({ body });
    await until('the API server asks the webhook', WAIT_MS, async () => {
      const made = await core.createNamespacedPod({ namespace, body: podOf('probe', MODEL), dryRun: 'All' });
      return made.spec?.schedulingGates;
    });
  }

  function podOf(name: string, annotations: Record<string, string> = {}): V1Pod {
    const resources = { limits: { cpu: '10m' }, requests: { cpu: '10m' } };
    return {
      metadata: { name, annotations },
      spec: { containers: [{ name: 'main', image: 'example.com/none', resources }] },
    };
  }

  const make = (pod: V1Pod): Promise<V1Pod> => core.createNamespacedPod({ namespace, body: pod });
  const nodeOf = async (name: string): Promise<string | undefined> =>
    (await core.readNamespacedPod({ namespace, name })).spec?.nodeName;
  const untilPlaced = (name: string): Promise<unknown> => until(`${name} has a node`, WAIT_MS, () => nodeOf(name));

  it('is never asked about pods that have nothing of ours, and these are placed as ever', async () => {
    const before = await admission.reviews();
    for (let at = 0; at < 5; at++) await make(podOf(`stranger-${at}`, { 'example.com/note': 'x' }));
    for (let at = 0; at < 5; at++) await untilPlaced(`stranger-${at}`);
    assert.equal(await admission.reviews(), before);
  });

  it('marks and gates what is ours, and nothing goes to the scheduler while no extender answers', async () => {
    for (let at = 0; at < 8; at++) {
      const { spec } = await make(podOf(`ours-${at}`, MODEL));
      assert.deepEqual(
        spec?.schedulingGates?.map(({ name }) => name),
        [GATE],
      );
      assert.equal(spec?.containers[0]?.resources?.limits?.[MARKER], '1');
      assert.equal(spec?.containers[0]?.resources?.requests?.[MARKER], '1');
    }
    await until('the gate knows of all', WAIT_MS, async () => {
      const { text } = await get(admission.healthPort, '/metrics');
      return text.includes('nabustore_gate_waiting_pods 8') || undefined;
    });
    assert.equal(await nodeOf('ours-0'), undefined);
  });

  it('takes gates over from one that was killed, and lets all through when an extender answers', async function () {
    this.timeout(2 * WAIT_MS);
    await admission.stop('SIGKILL');
    admission = await SchedulerAdmissionProcess.start(stage.kubeconfig, ...flags());
    isHealthy = true;
    for (let at = 0; at < 8; at++) await untilPlaced(`ours-${at}`);
    const { text } = await get(admission.healthPort, '/metrics');
    assert.match(text, /^nabustore_gate_lifted_total 8$/m);
    assert.match(text, /^nabustore_gate_waiting_pods 0$/m);
    const { text: asked } = await get(extender.port, '/metrics');
    assert.match(asked, /filter/);
  });

  it('can be asked why a pod is where it is', async () => {
    const where = ['--kubeconfig', stage.kubeconfig, '--extender', `http://127.0.0.1:${extender.port}`];
    const { stdout } = await promisify(execFile)(process.execPath, [NABU, 'explain', 'pod', 'ours-0', ...where]);
    assert.match(stdout, /^pod default\/ours-0, locality preferred: 1 of 1 nodes can take it\n/);
    assert.match(stdout, /n1 +a\/default +10 /);
    const gone = promisify(execFile)(process.execPath, [NABU, 'explain', 'pod', 'nobody', ...where]);
    await assert.rejects(gone, /the API server has no such object: pod default\/nobody/);
  });

  it('leaves a gate of somebody else where it is', async () => {
    const body = podOf('two-gates', MODEL);
    const spec = { ...body.spec, schedulingGates: [{ name: 'example.com/quota' }, { name: GATE }] } as V1Pod['spec'];
    await make({ ...body, ...(spec && { spec }) });
    await until('our gate is gone', WAIT_MS, async () => {
      const gates = (await core.readNamespacedPod({ namespace, name: 'two-gates' })).spec?.schedulingGates ?? [];
      return (gates.length === 1 && gates[0]?.name === 'example.com/quota') || undefined;
    });
  });
});
