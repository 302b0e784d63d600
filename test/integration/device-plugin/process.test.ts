import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MACHINES } from '../../fixtures/machines/index.ts';
import { eventually } from '../../support/kubelet-double.ts';
import { canMakeDevices, PluginNode } from '../../support/plugin-node.ts';
import { PodResourcesDouble } from '../../support/pod-resources-double.ts';
import { skip } from '../../support/skip.ts';

const START_MS = 20_000;
const BOUND_MS = 5000;
/** What is not told by an event is looked at once a second. */
const POLL_MS = 2000;
/** Nobody may have been seen with a device for 5 s until another resource gives it out. */
const MOVE_MS = 15_000;
const RDMA = 'nabustore.io/rdma';
const INFINIBAND = { kind: 'rdma', slots: 2, select: { linkLayers: ['InfiniBand'] } };
const FOUR = ['0000:1a:00.0', '0000:3c:00.0', '0000:9c:00.0', '0000:bc:00.0'];
const slots = (...addresses: string[]): string[] => addresses.flatMap((one) => [`${one}-0`, `${one}-1`]);
const ALL = slots(...FOUR);
const FIRST = '0000:1a:00.0';
const WITHOUT_FIRST = [...slots(FIRST).map((id) => `!${id}`), ...slots(...FOUR.slice(1))];
const PORT = 'sys/class/infiniband/mlx5_0/ports/1';

describe('nabu device-plugin on a recorded H200 node', function () {
  this.timeout(120_000);
  let node: PluginNode;
  let pods: PodResourcesDouble;

  before(function () {
    if (!canMakeDevices()) skip(this, 'right to make device files (CAP_MKNOD)');
  });

  beforeEach(async () => {
    node = new PluginNode(MACHINES['h200-8gpu']);
    await node.kubelet.start();
    pods = new PodResourcesDouble(join(node.kubeletDir, 'pod-resources', 'kubelet.sock'));
    await pods.start();
  });

  afterEach(async () => {
    await pods.stop();
    await node.close();
  });

  const advertised = (resource: string, ids: readonly string[], timeoutMs = BOUND_MS): Promise<void> =>
    node.kubelet.untilAdvertised(resource, () => ids, timeoutMs);
  const configure = (...resources: unknown[]): void => node.configure({ health: { recoverMs: 0 }, resources });
  const registrations = (resource: string): number =>
    node.kubelet.events.filter((event) => event.kind === 'register' && event.request.resourceName === resource).length;

  async function offer(resources: readonly unknown[], flags: readonly string[] = []): Promise<void> {
    configure(...resources);
    node.start(flags);
    await node.logged('running', START_MS);
  }

  it('offers the HCAs that are selected, and gives a container those it was given and no more', async () => {
    await offer([INFINIBAND]);
    await advertised(RDMA, ALL);
    const request = { containerRequests: [{ devicesIds: ['0000:3c:00.0-1', '0000:9c:00.0-0'] }] };
    const { containerResponses } = await node.kubelet.plugin(RDMA).allocate(request, { timeoutMs: BOUND_MS });
    const [grant] = containerResponses;
    assert.deepEqual(
      grant?.devices.map(({ containerPath, hostPath, permissions }) => [containerPath, hostPath, permissions]),
      ['uverbs1', 'rdma_cm', 'uverbs2'].map((name) => [`/dev/infiniband/${name}`, `/dev/infiniband/${name}`, 'rw']),
    );
    assert.deepEqual(grant?.envs, {
      NABUSTORE_RDMA_DEVICES: 'mlx5_1,mlx5_2',
      NABUSTORE_RDMA_PCI_ADDRESSES: '0000:3c:00.0,0000:9c:00.0',
    });
    assert.deepEqual([grant?.mounts, grant?.annotations, grant?.cdiDevices], [[], {}, []]);
    const line = await node.logged('allocated', BOUND_MS);
    assert.deepEqual([line.resource, line.ids], [RDMA, ['0000:3c:00.0-1', '0000:9c:00.0-0']]);
  });

  it('offers every kind of resource side by side', async () => {
    await offer([
      { kind: 'rdma', name: 'storage', select: { linkLayers: ['Ethernet'], linkStates: ['ACTIVE', 'DOWN'] } },
      { kind: 'gds', version: '1.17', select: { numaNodes: [0] } },
      INFINIBAND,
      { kind: 'cufile', version: '1.17', slots: 1 },
      { kind: 'hugetlbfs', pageSize: '2Mi', unitBytes: 16 * 2 ** 30 },
      { kind: 'hugetlbfs', pageSize: '1Gi', unitBytes: 32 * 2 ** 30 },
      { kind: 'nvme-vfio' },
    ]);
    await advertised('nabustore.io/rdma-storage', ['0000:ca:00.0-0', '0000:ca:00.1-0']);
    await advertised('nabustore.io/gds', ['0000:1a:00.0-0', '0000:3c:00.0-0']);
    await advertised(RDMA, slots('0000:9c:00.0', '0000:bc:00.0'));
    await advertised('nabustore.io/cufile', ['numa0-0', 'numa1-0']);
    // 284 pages of one node and two of the other are in other hands.
    await advertised('nabustore.io/hugetlbfs-2Mi', ['!2Mi-numa0-1', '2Mi-numa0-0', '2Mi-numa1-0', '2Mi-numa1-1']);
    await advertised('nabustore.io/hugetlbfs-1Gi', ['!1Gi-numa1-0', '1Gi-numa0-0']);
    await advertised('nabustore.io/nvme-vfio', []);
    assert.deepEqual(
      node.log.filter(({ level }) => level === 'error'),
      [],
    );
  });

  it('takes a new file into force without a new registration of what stays, and no HCA from a pod that has it', async () => {
    const other = { kind: 'cufile', version: '1.17', slots: 1 };
    await offer([INFINIBAND, other]);
    await advertised(RDMA, ALL);
    await advertised('nabustore.io/cufile', ['numa0-0', 'numa1-0']);
    pods.containers = [{ pod: 'trainer', devices: { [RDMA]: ['0000:9c:00.0-1'] } }];
    const rest = { kind: 'rdma', name: 'rest' };
    configure({ ...INFINIBAND, slots: 1, select: { ...INFINIBAND.select, numaNodes: [0] } }, other, rest);
    await advertised(RDMA, ['0000:1a:00.0-0', '0000:3c:00.0-0'], MOVE_MS);
    const moved = ['0000:bc:00.0-0', '0000:ca:00.0-0'];
    await advertised('nabustore.io/rdma-rest', ['!0000:9c:00.0-0', '!0000:ca:00.1-0', ...moved], MOVE_MS);
    pods.containers = [];
    await advertised('nabustore.io/rdma-rest', ['!0000:ca:00.1-0', '0000:9c:00.0-0', ...moved], MOVE_MS);
    configure(rest, other);
    await advertised(RDMA, ['!0000:1a:00.0-0', '!0000:3c:00.0-0']);
    await eventually('6 HCAs', () => node.kubelet.advertised('nabustore.io/rdma-rest')?.length === 6, BOUND_MS);
    assert.deepEqual([registrations(RDMA), registrations('nabustore.io/cufile')], [1, 1]);
    assert.equal(node.kubelet.lists('nabustore.io/cufile').length, 1);
    assert.ok(!readdirSync(join(node.kubeletDir, 'device-plugins')).includes('nabustore.io_rdma.sock'));
  });

  it('never offers by another name what a pod has from before it was killed', async () => {
    const other = { ...INFINIBAND, name: 'other' };
    await offer([INFINIBAND]);
    await advertised(RDMA, ALL);
    await node.stop('SIGKILL');
    pods.containers = [{ pod: 'trainer', devices: { [RDMA]: [`${FIRST}-1`] } }];
    await offer([other]);
    await advertised('nabustore.io/rdma-other', WITHOUT_FIRST);
    pods.containers = [];
    await advertised('nabustore.io/rdma-other', ALL, 4 * BOUND_MS);
    const [first, ...later] = node.kubelet
      .lists('nabustore.io/rdma-other')
      .map((devices) => devices.filter(({ ID, health }) => ID.startsWith(FIRST) && health === 'Healthy').length);
    assert.deepEqual([first, later.at(-1)], [0, 2]);
  });

  it('keeps what it offers when the file turns bad, and says which key is wrong', async () => {
    await offer([INFINIBAND]);
    await advertised(RDMA, ALL);
    configure({ ...INFINIBAND, slots: 0 });
    const { error } = await node.logged('the configuration is refused: the one before stays in force', BOUND_MS);
    assert.match(JSON.stringify(error), /resources\[0\]\.slots is 0; allowed: a whole number from 1 to 1000/);
    assert.deepEqual(node.kubelet.advertised(RDMA), ALL);
    configure({ ...INFINIBAND, slots: 1 });
    await advertised(
      RDMA,
      FOUR.map((address) => `${address}-0`),
      MOVE_MS,
    );
    assert.equal(registrations(RDMA), 1);
  });

  it('does not start with a bad file, and says why in one sentence', async () => {
    configure({ kind: 'rdma', colour: 'red' });
    node.start();
    assert.equal(await node.ended(START_MS), 64);
    assert.match(
      node.stderr,
      /^nabu: configuration .*resources\.yaml: resources\[0\]\.colour is not known; allowed there/,
    );
    assert.equal(node.stderr.trim().split('\n').length, 1);
  });

  it('turns an HCA unhealthy while its link is down or its state cannot be read, and healthy after', async () => {
    await offer([INFINIBAND]);
    await advertised(RDMA, ALL);
    const broken: readonly (readonly [string | Buffer, RegExp])[] = [
      ['1: DOWN', /port 1 of mlx5_0 is DOWN/],
      [Buffer.from([0, 255, 7]), /state of port 1 of mlx5_0 cannot be read/],
      [Buffer.alloc(0), /state of port 1 of mlx5_0 cannot be read/],
      [Buffer.alloc(100_000, '4'), /state of port 1 of mlx5_0 cannot be read/],
    ];
    for (const [content, cause] of broken) {
      const before = node.log.length;
      node.machine.file(`${PORT}/state`, content);
      await advertised(RDMA, WITHOUT_FIRST, POLL_MS);
      const { causes, device } = await node.logged('device is unhealthy', BOUND_MS, before);
      assert.equal(device, FIRST);
      assert.match(String(causes), cause);
      node.machine.file(`${PORT}/state`, '4: ACTIVE');
      await advertised(RDMA, ALL, POLL_MS);
    }
  });

  it('keeps an HCA that was pulled in the list, unhealthy, and takes it back when it is there again', async () => {
    await offer([INFINIBAND]);
    await advertised(RDMA, ALL);
    node.machine.remove('sys/class/infiniband/mlx5_0');
    await advertised(RDMA, WITHOUT_FIRST, POLL_MS);
    const { causes } = await node.logged('device is unhealthy', BOUND_MS);
    assert.deepEqual(causes, ['0000:1a:00.0 is not there any more']);
    const real = 'sys/devices/pci0000:15/0000:15:01.0/0000:16:00.0/0000:17:02.0/0000:1a:00.0/infiniband/mlx5_0';
    node.machine.link('sys/class/infiniband/mlx5_0', real);
    await advertised(RDMA, ALL, POLL_MS);
  });

  it('refuses a container whose device file went after it was given', async () => {
    await offer([INFINIBAND], ['--poll-ms', '60000']);
    await advertised(RDMA, ALL);
    const calls = node.kubelet.plugin(RDMA);
    await calls.preStartContainer({ devicesIds: ['0000:1a:00.0-0'] }, { timeoutMs: BOUND_MS });
    node.machine.remove('dev/infiniband/uverbs0');
    await assert.rejects(calls.preStartContainer({ devicesIds: ['0000:1a:00.0-0'] }, { timeoutMs: BOUND_MS }), {
      message: 'mlx5_0 of nabustore.io/rdma cannot be used now: /dev/infiniband/uverbs0 is gone',
    });
    await calls.preStartContainer({ devicesIds: ['0000:3c:00.0-0'] }, { timeoutMs: BOUND_MS });
  });

  it('keeps a container from starting again with a device file that is of another HCA now', async () => {
    await offer([INFINIBAND]);
    await advertised(RDMA, ALL);
    const ids = [`${FIRST}-0`];
    await node.kubelet.plugin(RDMA).allocate({ containerRequests: [{ devicesIds: ids }] }, { timeoutMs: BOUND_MS });
    const record = join(node.root, 'state/granted/rdma', `${FIRST}-0`);
    await eventually('it is written down', () => existsSync(record), BOUND_MS);
    const prepare = () => node.kubelet.plugin(RDMA).preStartContainer({ devicesIds: ids }, { timeoutMs: BOUND_MS });
    await prepare();
    await node.stop('SIGKILL');
    // As a driver that was loaded again leaves them: the container has what is the second HCA's now.
    const was = '/dev/infiniband/uverbs0';
    writeFileSync(record, readFileSync(record, 'utf8').replace(was, '/dev/infiniband/uverbs1'));
    const logged = node.log.length;
    node.start();
    await node.logged('registered with the kubelet', START_MS, logged);
    await advertised(RDMA, ALL);
    await assert.rejects(prepare(), {
      code: 'DEVICE_UNUSABLE',
      message: /was given \/dev\/infiniband\/uverbs1, which is of/,
    });
    for (const torn of ['', '{"ids":']) {
      writeFileSync(record, torn);
      await prepare();
    }
  });

  it('is there again after the kubelet restarted, and after it itself was killed', async () => {
    await offer([INFINIBAND]);
    await advertised(RDMA, ALL);
    await node.kubelet.restart({}, { isKilled: true });
    await advertised(RDMA, ALL);
    await node.stop('SIGKILL');
    await advertised(
      RDMA,
      ALL.map((id) => `!${id}`),
    );
    node.start();
    await advertised(RDMA, ALL, START_MS);
  });

  it('serves figures and says whether it is ready', async () => {
    await node.kubelet.stop();
    await offer([INFINIBAND], ['--metrics', '127.0.0.1:0']);
    const { address } = await node.logged('figures are served', BOUND_MS);
    const get = async (path: string): Promise<readonly [number, string]> => {
      const answer = await fetch(`http://${address}${path}`, { signal: AbortSignal.timeout(BOUND_MS) });
      return [answer.status, await answer.text()];
    };
    const [status, why] = await get('/readyz');
    assert.equal(status, 503);
    assert.match(why, /nabustore.io\/rdma is not registered/);
    await node.kubelet.start();
    await advertised(RDMA, ALL);
    assert.equal((await get('/readyz'))[0], 200);
    const [, figures] = await get('/metrics');
    assert.match(figures, /nabustore_device_plugin_devices\{resource="nabustore.io\/rdma",state="healthy"\} 8/);
    assert.match(figures, /nabustore_device_plugin_config_reloads_total\{result="ok"\} 1/);
    assert.match(figures, /nabustore_device_plugin_huge_pages_free\{numa_node="0",page_size="2Mi"\} 16100/);
  });

  it('labels the node for node-feature-discovery', async () => {
    const folder = join(node.root, 'features.d');
    await offer([INFINIBAND, { kind: 'cufile', version: '1.17' }], ['--features-dir', folder]);
    await eventually('a file of features', () => readdirSync(node.root).includes('features.d'), BOUND_MS);
    await eventually('its labels', () => readdirSync(folder).join() === 'nabustore', BOUND_MS);
  });

  it('ends its streams and takes its sockets away when it is told to end', async () => {
    await offer([INFINIBAND]);
    await advertised(RDMA, ALL);
    assert.equal(await node.stop(), 0);
    assert.deepEqual(readdirSync(join(node.kubeletDir, 'device-plugins')), ['kubelet.sock']);
    await eventually('the stream ends', () => node.kubelet.kinds().includes('stream-ended'), BOUND_MS);
  });
});
