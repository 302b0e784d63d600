import assert from 'node:assert/strict';
import { discover, type Inventory, type Mount, type ProcessView } from '../../../../device-plugin/discovery/index.ts';
import { type GdsReport, gdsReport } from '../../../../device-plugin/gds/index.ts';
import { MACHINES, type MachineName } from '../../../fixtures/machines/index.ts';
import { isMarker, MachineTree } from '../../../support/machine-tree.ts';

const mount = (fsType: string, fields: Partial<Mount> = {}): Mount => ({
  mountPoint: `/${fsType}`,
  fsType,
  source: '/dev/nvme0n1',
  options: ['rw'],
  block: { name: 'nvme0n1', logicalBlockBytes: 512 },
  ...fields,
});
const remote = (fsType: string, options: readonly string[] = ['rw']): Mount =>
  mount(fsType, { source: 'store:/x', options, block: null });

const view = (mounts: readonly Mount[] = [], softBytes: number | null = null): ProcessView => ({
  mounts,
  memoryLock: { softBytes, hardBytes: null },
  findings: [],
});

const inventories = new Map<MachineName, Inventory>();
const inventoryOf = (name: MachineName): Inventory => {
  const found = inventories.get(name);
  assert(found !== undefined);
  return found;
};
const verdictsOf = ({ requirements }: GdsReport): Record<string, string> =>
  Object.fromEntries(requirements.map(({ name, verdict }) => [name, verdict]));
const fileSystemsOf = ({ fileSystems }: GdsReport): Record<string, string> =>
  Object.fromEntries(fileSystems.map(({ mountPoint, verdict, reason }) => [mountPoint, `${verdict}: ${reason}`]));

describe('the verdict on GPUDirect Storage', () => {
  before(async () => {
    for (const name of Object.keys(MACHINES) as MachineName[]) {
      using tree = new MachineTree(MACHINES[name]);
      const options = { signal: AbortSignal.timeout(60_000), isCharDevice: isMarker };
      inventories.set(name, await discover(tree.roots, options));
    }
  });

  it('is a mode for each recorded machine', () => {
    const modes = Object.fromEntries([...inventories].map(([name, found]) => [name, gdsReport(found, view()).mode]));
    assert.deepEqual(modes, {
      'h200-8gpu': 'nvidia-fs',
      'storage-32nvme': 'none',
      'roce-only': 'none',
      'p2pdma-only': 'p2pdma',
      'vm-empty': 'none',
    });
  });

  it('names what is there and what the mode does without', () => {
    const h200 = verdictsOf(gdsReport(inventoryOf('h200-8gpu'), view()));
    assert.equal(h200.GPU, 'yes');
    assert.equal(h200['nvidia-fs'], 'yes');
    assert.equal(h200['NVMe drives'], 'yes');
    assert.equal(h200.RDMA, 'yes');
    const p2pdma = verdictsOf(gdsReport(inventoryOf('p2pdma-only'), view()));
    assert.equal(p2pdma['nvidia-fs'], 'unneeded');
    assert.equal(p2pdma['peer-to-peer DMA'], 'yes');
    const empty = gdsReport(inventoryOf('vm-empty'), view());
    assert.equal(verdictsOf(empty).GPU, 'no');
    assert(empty.requirements.every(({ name, verdict }) => name === 'GPU' || verdict !== 'no'));
  });

  it('says for each part of peer-to-peer DMA that is missing how to get it', () => {
    const whole = inventoryOf('p2pdma-only');
    const { p2pDma } = whole;
    const { nvidiaDriver } = p2pDma;
    assert(nvidiaDriver !== null);
    const broken: readonly (readonly [Partial<Inventory['p2pDma']>, string])[] = [
      [{ kernel: { isBuiltIn: false, evidence: 'x' } }, 'CONFIG_PCI_P2PDMA'],
      [{ isNvmeMultipath: true }, 'nvme_core.multipath=N'],
      [{ nvidiaDriver: { ...nvidiaDriver, isOpen: false } }, 'open kernel module'],
      [{ nvidiaDriver: { ...nvidiaDriver, registryWords: '' } }, 'RMForceStaticBar1=1'],
    ];
    for (const [change, advice] of broken) {
      const report = gdsReport({ ...whole, p2pDma: { ...p2pDma, ...change } }, view());
      assert.equal(report.mode, 'compat', advice);
      const row = report.requirements.find(({ name }) => name === 'peer-to-peer DMA');
      assert.equal(row?.verdict, 'no');
      assert(row.toDo.includes(advice), row.toDo);
    }
  });

  it('is not given for peer-to-peer DMA when nothing tells of a part of it', () => {
    const whole = inventoryOf('p2pdma-only');
    const p2pDma = { ...whole.p2pDma, kernel: { isBuiltIn: null, evidence: null } };
    const report = gdsReport({ ...whole, p2pDma }, view());
    assert.equal(report.mode, 'compat');
    assert.equal(verdictsOf(report)['peer-to-peer DMA'], 'unknown');
  });

  it('wants every device file that nvidia-fs says it made', () => {
    const whole = inventoryOf('h200-8gpu');
    const nvidiaFs = { ...whole.nvidiaFs, devices: whole.nvidiaFs.devices.slice(1) };
    assert.notEqual(gdsReport({ ...whole, nvidiaFs }, view()).mode, 'nvidia-fs');
  });

  it('depends on the file system, what it lies on and how it is mounted', () => {
    const mounts = [
      mount('ext4'),
      mount('ext4', { mountPoint: '/ordered', options: ['rw', 'data=ordered'] }),
      mount('ext4', { mountPoint: '/journal', options: ['rw', 'data=journal'] }),
      mount('xfs'),
      mount('xfs', { mountPoint: '/sata', source: '/dev/sda1', block: { name: 'sda1', logicalBlockBytes: 4096 } }),
      mount('btrfs', { block: null }),
      remote('nfs4'),
      mount('proc', { source: 'proc', block: null }),
      mount('tmpfs', { source: 'tmpfs', block: null }),
    ];
    const report = gdsReport(inventoryOf('h200-8gpu'), view(mounts));
    assert.deepEqual(fileSystemsOf(report), {
      '/btrfs': 'no: cuFile has no direct path to btrfs',
      '/ext4': 'yes: by nvidia-fs',
      '/journal': 'no: it is mounted with data=journal: data=ordered is needed',
      '/nfs4': 'no: it is not mounted with proto=rdma',
      '/ordered': 'yes: by nvidia-fs',
      '/sata': 'no: it lies on sda1, not on NVMe',
      '/xfs': 'yes: by nvidia-fs',
    });
    assert.deepEqual(
      report.fileSystems.map(({ directAlignmentBytes }) => directAlignmentBytes),
      [null, 512, 512, null, 512, 4096, 512],
    );
  });

  it('wants the hooks of nvidia-fs in the modules of file systems on the network', () => {
    const whole = inventoryOf('h200-8gpu');
    const mounts = [remote('nfs4', ['rw', 'proto=rdma']), remote('lustre')];
    const hooks = (...names: string[]): Inventory => ({
      ...whole,
      nvidiaFs: { ...whole.nvidiaFs, storageModules: names.map((name) => ({ name, version: '1.0' })) },
    });
    assert.deepEqual(fileSystemsOf(gdsReport(hooks('rpcrdma', 'lnet'), view(mounts))), {
      '/lustre': 'yes: by nvidia-fs',
      '/nfs4': 'yes: by nvidia-fs',
    });
    assert.deepEqual(fileSystemsOf(gdsReport(hooks('nvme'), view(mounts))), {
      '/lustre': 'no: nvidia-fs has no hooks into lnet',
      '/nfs4': 'no: nvidia-fs has no hooks into rpcrdma',
    });
  });

  it('is no for what the mode of the machine does not reach, and for everything without a GPU', () => {
    const mounts = [mount('ext4'), remote('lustre')];
    assert.deepEqual(fileSystemsOf(gdsReport(inventoryOf('p2pdma-only'), view(mounts))), {
      '/ext4': 'yes: by p2pdma',
      '/lustre': 'no: it needs nvidia-fs, and the mode is p2pdma',
    });
    const none = fileSystemsOf(gdsReport(inventoryOf('vm-empty'), view(mounts)));
    assert.equal(none['/ext4'], 'no: there is no GPU with a driver');
  });

  it('speaks of the mount that is seen where several lie on one another', () => {
    const mounts = [mount('btrfs', { mountPoint: '/data' }), mount('xfs', { mountPoint: '/data' })];
    assert.deepEqual(fileSystemsOf(gdsReport(inventoryOf('h200-8gpu'), view(mounts))), {
      '/data': 'yes: by nvidia-fs',
    });
  });

  it('is yes for locked memory only without a limit', () => {
    const inventory = inventoryOf('h200-8gpu');
    assert.equal(verdictsOf(gdsReport(inventory, view([], null)))['locked memory'], 'yes');
    assert.equal(verdictsOf(gdsReport(inventory, view([], 8 << 20)))['locked memory'], 'no');
    const silent = { ...view(), memoryLock: null };
    assert.equal(verdictsOf(gdsReport(inventory, silent))['locked memory'], 'unknown');
  });
});
