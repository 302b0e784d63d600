import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeDevices } from '../../../cli/node-devices.ts';
import { PodResourcesDouble } from '../../support/pod-resources-double.ts';

const RDMA = 'nabustore.io/rdma';

describe('devices of this node', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nabu-devices-'));
  const kubelet = new PodResourcesDouble(join(folder, 'kubelet.sock'));
  afterEach(() => kubelet.stop());
  after(() => rmSync(folder, { recursive: true }));

  it('are counted by NUMA node, and as free where no container holds them', async () => {
    await kubelet.start();
    kubelet.allocatable = { [RDMA]: [['a', 'b'], ['c']], 'example.com/gpu': [['g']] };
    kubelet.containers = [
      { pod: 'p', devices: { [RDMA]: ['a'] }, numaNodes: [0] },
      { pod: 'q', devices: { 'example.com/gpu': ['g'] } },
    ];
    assert.deepEqual(await nodeDevices(kubelet.socket), [
      { resource: RDMA, numaNode: 0, total: 2, free: 1 },
      { resource: RDMA, numaNode: 1, total: 1, free: 1 },
    ]);
  });

  it('are not made up where no kubelet answers', async () => {
    await assert.rejects(nodeDevices(join(folder, 'none.sock')), { code: 'UNAVAILABLE' });
  });
});
