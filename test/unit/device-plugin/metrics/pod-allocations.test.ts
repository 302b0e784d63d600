import assert from 'node:assert/strict';
import { podAllocations } from '../../../../device-plugin/metrics/index.ts';
import type { ContainerHolding } from '../../../../device-plugin/pod-resources/index.ts';

const plugged = (resource: string, id: string): ContainerHolding['devices'][number] => ({
  resource,
  id,
  numaNodes: [],
});
const claimed = (driver: string, device: string): ContainerHolding['claims'][number] => ({
  namespace: 'ai',
  name: 'claim',
  devices: [{ driver, pool: 'node', device, shareId: undefined }],
});

describe('what pods hold, as rows of a figure', () => {
  it("counts our units by container and resource, of claims by driver, and nobody else's", () => {
    const container: ContainerHolding = {
      namespace: 'ai',
      pod: 'train-0',
      container: 'main',
      devices: [
        plugged('nabustore.io/rdma', '0000:18:00.0-0'),
        plugged('nabustore.io/rdma', '0000:40:00.0-0'),
        plugged('nvidia.com/gpu', 'GPU-1'),
        plugged('nabustore.io.example.com/rdma', 'x'),
      ],
      claims: [claimed('nabustore.io', 'hca-0'), claimed('gpu.nvidia.com', 'gpu-0')],
    };
    const row = { namespace: 'ai', pod: 'train-0', container: 'main' };
    assert.deepEqual(podAllocations([{ namespace: 'ai', name: 'train-0', containers: [container] }]), [
      { ...row, resource: 'nabustore.io/rdma', units: 2 },
      { ...row, resource: 'nabustore.io', units: 1 },
    ]);
  });

  it('has no row for a container without any', () => {
    const container: ContainerHolding = {
      namespace: 'ai',
      pod: 'web',
      container: 'main',
      devices: [plugged('nvidia.com/gpu', 'GPU-1')],
      claims: [],
    };
    assert.deepEqual(podAllocations([{ namespace: 'ai', name: 'web', containers: [container] }]), []);
  });
});
