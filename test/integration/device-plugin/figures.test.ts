import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { realClock } from '../../../common/ports/index.ts';
import { h200 } from '../../fixtures/machines/h200-8gpu.ts';
import { eventually } from '../../support/kubelet-double.ts';
import { canMakeDevices, PluginNode } from '../../support/plugin-node.ts';
import { PodResourcesDouble } from '../../support/pod-resources-double.ts';
import { skip } from '../../support/skip.ts';

const START_MS = 20_000;
const BOUND_MS = 10_000;
const LOOK_EVERY_MS = 10;
const CALL = { timeoutMs: 10_000 };
const RDMA = 'nabustore.io/rdma';
const HCA = '0000:1a:00.0';
const CONFIG = { health: { recoverMs: 0 }, resources: [{ kind: 'rdma', select: { linkLayers: ['InfiniBand'] } }] };

describe('the figures of a running device plugin', function () {
  this.timeout(120_000);
  let node: PluginNode;
  let pods: PodResourcesDouble;
  let url: string;

  before(function () {
    if (!canMakeDevices()) skip(this, 'right to make device files (CAP_MKNOD)');
  });

  beforeEach(async () => {
    node = new PluginNode(h200);
    pods = new PodResourcesDouble(join(node.kubeletDir, 'pod-resources', 'kubelet.sock'));
    pods.containers = [{ pod: 'train-0', devices: { [RDMA]: [`${HCA}-0`] } }];
    await node.kubelet.start();
    await pods.start();
    node.configure(CONFIG);
    node.start(['--metrics', '127.0.0.1:0', '--features-dir', join(node.root, 'features.d')]);
    const { address } = await node.logged('figures are served', START_MS);
    url = `http://${String(address)}`;
    await node.logged('running', START_MS);
    await eventually('it is registered', () => node.kubelet.advertised(RDMA) !== undefined, BOUND_MS);
  });

  afterEach(async () => {
    await node.close();
    await pods.stop();
  });

  const get = async (path: string): Promise<{ status: number; text: string }> => {
    const response = await fetch(url + path);
    return { status: response.status, text: await response.text() };
  };

  /** Its value now; undefined while there is no such series. */
  async function figure(name: string, labels: string): Promise<number | undefined> {
    const line = (await get('/metrics')).text
      .split('\n')
      .find((one) => one.startsWith(`nabustore_device_plugin_${name}${labels} `));
    return line === undefined ? undefined : Number(line.split(' ').at(-1));
  }

  async function becomes(name: string, labels: string, value: number): Promise<void> {
    const untilMs = performance.now() + BOUND_MS;
    for (;;) {
      const now = await figure(name, labels);
      if (now === value) return;
      assert(performance.now() < untilMs, `${name}${labels} is ${now}, not ${value}`);
      await realClock.sleep(LOOK_EVERY_MS);
    }
  }

  it('follow the machine, the kubelet, the pods and the configuration', async () => {
    const resource = `resource="${RDMA}"`;
    await becomes('devices', `{${resource},state="healthy"}`, 4);
    await becomes('registered', `{${resource}}`, 1);
    await becomes('registrations_total', `{${resource},result="ok"}`, 1);
    await becomes('allocations', `{namespace="default",pod="train-0",container="main",${resource}}`, 1);
    await becomes('huge_pages_free', '{numa_node="0",page_size="2Mi"}', 16_100);
    await becomes('config_reloads_total', '{result="ok"}', 1);

    const request = { containerRequests: [{ devicesIds: [`${HCA}-0`] }] };
    await node.kubelet.plugin(RDMA).allocate(request, CALL);
    await assert.rejects(node.kubelet.plugin(RDMA).allocate({ containerRequests: [{ devicesIds: ['x'] }] }, CALL));
    await becomes('allocate_duration_seconds_count', `{${resource},result="ok"}`, 1);
    await becomes('allocate_duration_seconds_count', `{${resource},result="refused"}`, 1);

    const state = node.machine.at('sys/class/infiniband/mlx5_0/ports/1/state');
    writeFileSync(state, '1: DOWN\n');
    await becomes('health_changes_total', `{${resource},state="unhealthy",cause="link"}`, 1);
    await becomes('devices', `{${resource},state="unhealthy"}`, 1);
    writeFileSync(state, '4: ACTIVE\n');
    await becomes('health_changes_total', `{${resource},state="healthy",cause="recovered"}`, 1);

    node.configure('resources: nonsense');
    await becomes('config_reloads_total', '{result="refused"}', 1);
    await becomes('config_last_reload_successful', '', 0);
    await node.kubelet.restart();
    await becomes('registrations_total', `{${resource},result="ok"}`, 2);
  });

  it('stand beside whether it is of use', async () => {
    assert.deepEqual(await get('/healthz'), { status: 200, text: 'ok\n' });
    assert.equal((await get('/readyz')).status, 200);
    await node.kubelet.stop();
    const untilMs = performance.now() + BOUND_MS;
    while ((await get('/readyz')).status === 200) assert(performance.now() < untilMs, 'it is ready without a kubelet');
    assert.match((await get('/readyz')).text, /^nabustore\.io\/rdma is not registered: /);
  });
});
