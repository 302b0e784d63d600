import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { h200 } from '../../fixtures/machines/h200-8gpu.ts';
import { eventually } from '../../support/kubelet-double.ts';
import { canMakeDevices, PluginNode } from '../../support/plugin-node.ts';
import { skip } from '../../support/skip.ts';

const START_MS = 20_000;
const BOUND_MS = 5000;
const RDMA = 'nabustore.io/rdma';
const INFINIBAND = { kind: 'rdma', slots: 2, select: { linkLayers: ['InfiniBand'] } };
const slots = (address: string): string[] => [`${address}-0`, `${address}-1`];
const FOUR = ['0000:1a:00.0', '0000:3c:00.0', '0000:9c:00.0', '0000:bc:00.0'];

describe('nabu device-plugin on a recorded H200 node', function () {
  this.timeout(120_000);
  let node: PluginNode;

  before(function () {
    if (!canMakeDevices()) skip(this, 'right to make device files (CAP_MKNOD)');
  });

  beforeEach(async () => {
    node = new PluginNode(h200);
    await node.kubelet.start();
  });

  afterEach(async () => {
    await node.close();
  });

  async function offer(resources: readonly unknown[], expected: readonly string[]): Promise<void> {
    node.configure({ health: { recoverMs: 0 }, resources });
    node.start();
    await node.logged('running', START_MS);
    await node.kubelet.untilAdvertised(RDMA, () => expected, BOUND_MS);
  }

  it('offers the HCAs that are selected, and gives a container those it was given and no more', async () => {
    await offer([INFINIBAND], FOUR.flatMap(slots));
    const calls = node.kubelet.plugin(RDMA);
    const request = { containerRequests: [{ devicesIds: ['0000:3c:00.0-1', '0000:9c:00.0-0'] }] };
    const { containerResponses } = await calls.allocate(request, { timeoutMs: BOUND_MS });
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
  });

  it('ends its streams and takes its sockets away when it is told to end', async () => {
    await offer([INFINIBAND], FOUR.flatMap(slots));
    assert.equal(await node.stop(), 0);
    assert.deepEqual(readdirSync(join(node.kubeletDir, 'device-plugins')), ['kubelet.sock']);
    await eventually('the stream ends', () => node.kubelet.kinds().includes('stream-ended'), BOUND_MS);
  });
});
