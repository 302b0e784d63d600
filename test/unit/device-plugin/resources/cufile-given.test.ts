import assert from 'node:assert/strict';
import type { HcaName, Inventory } from '../../../../device-plugin/discovery/index.ts';
import { deviceId } from '../../../../device-plugin/kubelet/index.ts';
import type { HeldClaim } from '../../../../device-plugin/pod-resources/index.ts';
import { claimDeviceName, slotDeviceName } from '../../../../device-plugin/resources/claim-device-name.ts';
import { cufileGiven } from '../../../../device-plugin/resources/cufile-given.ts';
import { MACHINES } from '../../../fixtures/machines/index.ts';
import { CufileRig, holding } from '../../../support/cufile-rig.ts';

const UNIT = { id: deviceId('numa0-0'), device: 'numa0', numaNodes: [0], pcieRoot: null };
const NODE_0 = ['0000:18:00.0', '0000:19:00.0', '0000:3a:00.0', '0000:3b:00.0'];
const NODE_1 = ['0000:9a:00.0', '0000:9b:00.0', '0000:ba:00.0', '0000:bb:00.0'];
const UUID_3 = 'GPU-5a1f0c3e-7d2b-4e6a-9c41-000000000003';

function claim(driver: string, ...devices: readonly string[]): HeldClaim {
  return {
    namespace: 'ml',
    name: 'claim',
    devices: devices.map((device) => ({ driver, pool: 'node-7', device, shareId: undefined })),
  };
}

describe('what a container was given', () => {
  let machine: Inventory;
  before(async () => {
    using rig = new CufileRig(MACHINES['h200-8gpu']);
    machine = await rig.inventory();
  });

  const given = (...args: Parameters<typeof holding>): { hcas: string[]; gpus: string[]; notes: readonly string[] } => {
    const { hcas, gpus, notes } = cufileGiven([UNIT], new Set(), { holding: holding(...args) }, machine);
    return { hcas: hcas.map(({ name }) => name), gpus: gpus.map(({ pci }) => pci.address).sort(), notes };
  };

  const FORMS: readonly (readonly [form: string, resource: string, id: string])[] = [
    ['UUID', 'nvidia.com/gpu', UUID_3],
    ['UUID under another name', 'example.com/h200', UUID_3],
    ['share of a GPU', 'nvidia.com/gpu.shared', `${UUID_3}::7`],
    ['virtual GPU', 'nvidia.com/gpu', `${UUID_3}-4`],
    ['MIG device of the old form', 'nvidia.com/mig-1g.18gb', `MIG-${UUID_3}/7/0`],
    ['PCI address', 'nvidia.com/gpu', '0000:3b:00.0'],
    ["PCI address in NVIDIA's spelling", 'nvidia.com/gpu', '00000000:3B:00.0'],
    ['index', 'nvidia.com/gpu', '3'],
    ['MIG device by index', 'nvidia.com/mig-1g.18gb', '3:0'],
    ['device file', 'nvidia.com/gpu', 'nvidia3'],
  ];
  for (const [form, resource, id] of FORMS) {
    it(`knows a GPU by its ${form}: ${id}`, () => {
      assert.deepEqual(given({ [resource]: [id] }), { hcas: [], gpus: ['0000:3b:00.0'], notes: [] });
    });
  }

  it('knows GPUs and HCAs by claims', () => {
    const claims = [
      claim('gpu.nvidia.com', 'gpu-7', 'gpu-2-mig-1g18gb-19-0'),
      claim('devices.nabustore.io', 'hca-0000-bc-00-0', 'hca-0000-1a-00-0-slot-1', 'nvme-0000-17-00-0'),
      claim('other.example.com', 'gpu-1', 'hca-0000-3c-00-0'),
    ];
    assert.deepEqual(given({}, { claims }), {
      hcas: ['mlx5_0', 'mlx5_3'],
      gpus: ['0000:3a:00.0', '0000:bb:00.0'],
      notes: [],
    });
  });

  it('knows by claims and by units an HCA that is no PCI function, whatever its name', () => {
    const names = ['rxe0', 'rxe-slot-1', 'rxe_2', 'rxe-2', `r${'x'.repeat(57)}`];
    const [hca] = machine.hcas;
    assert.ok(hca !== undefined);
    const virtual: Inventory = {
      ...machine,
      hcas: names.map((name) => ({ ...hca, name: name as HcaName, pci: null })),
    };
    const namesOf = (...args: Parameters<typeof holding>): string[] =>
      cufileGiven([UNIT], new Set(), { holding: holding(...args) }, virtual).hcas.map(({ name }) => name);
    for (const name of names) {
      const claimed = claimDeviceName('rdma', name);
      assert.deepEqual(namesOf({}, { claims: [claim('devices.nabustore.io', claimed)] }), [name]);
      assert.deepEqual(namesOf({}, { claims: [claim('devices.nabustore.io', slotDeviceName(claimed, 3))] }), [name]);
      assert.deepEqual(namesOf({ 'nabustore.io/rdma': [`${name}-0`] }), [name]);
    }
  });

  it('knows an HCA of ours once however many of its slots there are, and none of somebody else', () => {
    const devices = {
      'nabustore.io/rdma': ['0000:1a:00.0-0', '0000:1a:00.0-12'],
      'nabustore.io/gds-fast': ['0000:3c:00.0-0'],
      'rdma/hca': ['0000:9c:00.0-0'],
      'nabustore.io/nvme-vfio': ['0000:bc:00.0-0'],
      'nvidia.com/gpu': [UUID_3],
    };
    assert.deepEqual(given(devices), { hcas: ['mlx5_0', 'mlx5_1'], gpus: ['0000:3b:00.0'], notes: [] });
  });

  it('takes the GPUs of the node for a container without one, with a note and with its HCAs', () => {
    assert.deepEqual(given({ 'nabustore.io/rdma': ['0000:9c:00.0-0'] }), {
      hcas: ['mlx5_2'],
      gpus: NODE_0,
      notes: ['the pod resources API shows no GPU of the container: the file is for those of NUMA node 0'],
    });
  });

  it('takes the GPUs of the node that its plugin named for a MIG device that cannot be told from others', () => {
    const mig = 'MIG-1f2e3d4c-0000-1111-2222-333344445555';
    assert.deepEqual(given({ 'nvidia.com/mig-1g.18gb': [mig] }, { numaNodes: [1] }), {
      hcas: [],
      gpus: NODE_1,
      notes: [`which GPU ${mig} is cannot be told here: the file is for those of NUMA node 1`],
    });
    assert.deepEqual(given({ 'nvidia.com/gpu': ['GPU-00000000-0000-0000-0000-000000000000'] }).gpus, NODE_0);
    assert.deepEqual(given({ 'nvidia.com/gpu': ['99'] }).gpus, NODE_0);
  });

  it('takes all GPUs of the machine where the node has none', () => {
    const unit = { ...UNIT, numaNodes: [5] };
    const { gpus, hcas } = cufileGiven([unit], new Set(), { why: 'no answer' }, machine);
    assert.equal(gpus.length, 8);
    assert.deepEqual(hcas, []);
  });
});
