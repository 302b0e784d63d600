import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { h200 } from '../../fixtures/machines/h200-8gpu.ts';
import { canHang, HangingFile } from '../../support/hanging-file.ts';
import { canMakeDevices, PluginNode } from '../../support/plugin-node.ts';
import { PodResourcesDouble } from '../../support/pod-resources-double.ts';
import { skip } from '../../support/skip.ts';

const START_MS = 30_000;
/** One poll (1 s), what a hanging look takes to be one (0.5 s), a discovery, and a machine that does other things too. */
const BOUND_MS = 3000;
const RECOVER_BOUND_MS = BOUND_MS + 2000;
const RDMA = 'nabustore.io/rdma';
const CUFILE = 'nabustore.io/cufile';
const PAGES = 'nabustore.io/hugetlbfs-2Mi';
const VFIO = 'nabustore.io/nvme-vfio';
const FIRST = '0000:1a:00.0';
const HCAS = [FIRST, '0000:3c:00.0', '0000:9c:00.0', '0000:bc:00.0'];
const STATE = 'sys/class/infiniband/mlx5_0/ports/1/state';
const DRIVE = '0000:1b:00.0';
const GIB = 2 ** 30;
/** The recorded node has 16,384 pages of 2 MiB on either NUMA node: 32 GiB. */
const UNITS_PER_NODE = 4;

/** All of them free, none promised. */
const HUGE_PAGES = h200.hugePages.map(({ sizeKib, perNode }) => ({
  sizeKib,
  perNode: perNode.map(([total]) => [total, total] as const),
}));

const FUNCTIONS = h200.functions.map((pci) =>
  pci.path.endsWith(DRIVE) ? { ...pci, driver: 'vfio-pci', vfioDevice: 0 } : pci,
);

describe('the health of devices on a recorded H200 node, as the kubelet hears of it', function () {
  this.timeout(120_000);
  let node: PluginNode;
  let pods: PodResourcesDouble;

  before(async function () {
    if (!canMakeDevices()) skip(this, 'right to make device files (CAP_MKNOD)');
    node = new PluginNode({ ...h200, hugePages: HUGE_PAGES, functions: FUNCTIONS });
    pods = new PodResourcesDouble(join(node.kubeletDir, 'pod-resources', 'kubelet.sock'));
    await node.kubelet.start();
    await pods.start();
    node.configure({
      health: { recoverMs: 200, maxRecoverMs: 200 },
      resources: [
        { kind: 'rdma', select: { linkLayers: ['InfiniBand'] } },
        { kind: 'cufile', version: '1.13', slots: 1 },
        { kind: 'hugetlbfs', pageSize: '2Mi', unitBytes: 8 * GIB },
        { kind: 'nvme-vfio', select: {} },
      ],
    });
    node.start();
    await node.logged('running', START_MS);
    await advertised(RDMA, units(HCAS), START_MS);
  });

  after(async () => {
    await node?.close();
    await pods?.stop();
  });

  const units = (devices: readonly string[], isWell = (_: string): boolean => true): string[] =>
    devices.map((device) => `${isWell(device) ? '' : '!'}${device}-0`).sort();
  const pages = (isWell: (node: number, unit: number) => boolean): string[] =>
    [0, 1]
      .flatMap((of) =>
        Array.from({ length: UNITS_PER_NODE }, (_, unit) => `${isWell(of, unit) ? '' : '!'}2Mi-numa${of}-${unit}`),
      )
      .sort();
  const ALL_PAGES = pages(() => true);

  async function advertised(resource: string, expected: readonly string[], timeoutMs: number): Promise<void> {
    await node.kubelet.untilAdvertised(resource, () => expected, timeoutMs);
  }

  /** Does something to the machine, sees who is ill for it, undoes it, and sees all well again. */
  async function suffers(resource: string, ill: readonly string[], well: readonly string[], harm: () => () => void) {
    await advertised(resource, well, START_MS);
    const undo = harm();
    try {
      await advertised(resource, ill, BOUND_MS);
    } finally {
      undo();
    }
    await advertised(resource, well, RECOVER_BOUND_MS);
  }

  const FIRST_ILL = units(HCAS, (device) => device !== FIRST);
  const firstSuffers = (harm: () => () => void): Promise<void> => suffers(RDMA, FIRST_ILL, units(HCAS), harm);

  /** Takes entries of the recorded machine away; what it returns puts them back. */
  function away(...paths: readonly string[]): () => void {
    const folder = mkdtempSync(join(node.root, 'parked-'));
    const parked = paths.map((path, index) => [node.machine.at(path), join(folder, `${index}`)] as const);
    for (const [from, to] of parked) execFileSync('mv', ['-T', from, to]);
    return () => {
      for (const [from, to] of [...parked].reverse()) execFileSync('mv', ['-T', to, from]);
    };
  }

  /** Puts a file in the place of another; what it returns undoes it. */
  function holding(path: string, content: string | number): () => void {
    const back = away(path);
    node.machine.file(path, content);
    return () => {
      rmSync(node.machine.at(path));
      back();
    };
  }

  const allOf = (undo: readonly (() => void)[]) => (): void => {
    for (const one of undo) one();
  };

  const uverbs = 'dev/infiniband/uverbs0';

  it('a link that goes down', () => firstSuffers(() => holding(STATE, '1: DOWN')));

  it('an HCA that is unplugged', () =>
    firstSuffers(() =>
      away(
        `sys/bus/pci/devices/${FIRST}`,
        'sys/class/infiniband/mlx5_0',
        'sys/class/infiniband_verbs/uverbs0',
        'sys/class/infiniband_mad/umad0',
        'sys/class/infiniband_mad/issm0',
        uverbs,
      ),
    ));

  it('a device file that is taken away', () => firstSuffers(() => away(uverbs)));

  it('a device file that is another device', () =>
    firstSuffers(() => {
      const back = away(uverbs);
      execFileSync('mknod', [node.machine.at(uverbs), 'c', '1', '3']);
      return () => {
        rmSync(node.machine.at(uverbs));
        back();
      };
    }));

  it('firmware that answers nothing: a state that is empty, or a pipe where it was', async () => {
    await firstSuffers(() => holding(STATE, ''));
    await firstSuffers(() => {
      const back = away(STATE);
      execFileSync('mkfifo', [node.machine.at(STATE)]);
      return () => {
        rmSync(node.machine.at(STATE));
        back();
      };
    });
  });

  it('firmware that hangs: a read of the state that does not return; all others are watched on', async function () {
    if (!canHang()) skip(this, 'right to mount FUSE');
    await firstSuffers(() => {
      const hanging = new HangingFile(node.machine.at(STATE));
      return () => hanging[Symbol.dispose]();
    });
    const ports = ['mlx5_0', 'mlx5_1', 'mlx5_2'].map((name) => `sys/class/infiniband/${name}/ports/1/state`);
    const hanging = ports.map((path) => new HangingFile(node.machine.at(path)));
    const last = HCAS.at(-1) ?? '';
    try {
      await advertised(
        RDMA,
        units(HCAS, (device) => device === last),
        2 * BOUND_MS,
      );
      // Three hang, and the fourth is still looked at.
      const up = holding('sys/class/infiniband/mlx5_3/ports/1/state', '2: INIT');
      await advertised(
        RDMA,
        units(HCAS, () => false),
        BOUND_MS,
      );
      up();
      await advertised(
        RDMA,
        units(HCAS, (device) => device === last),
        RECOVER_BOUND_MS,
      );
    } finally {
      for (const one of hanging) one[Symbol.dispose]();
    }
    await advertised(RDMA, units(HCAS), RECOVER_BOUND_MS);
    assert(node.log.some(({ message }) => message === 'a file does not answer'));
  });

  it('nvidia-fs that is unloaded', async () => {
    const devices = readdirSync(node.machine.at('dev')).filter((name) => name.startsWith('nvidia-fs'));
    const all = ['numa0-0', 'numa1-0'];
    await suffers(
      CUFILE,
      all.map((id) => `!${id}`),
      all,
      () => away('sys/module/nvidia_fs', 'proc/driver/nvidia-fs', ...devices.map((name) => `dev/${name}`)),
    );
  });

  it('huge pages that are shrunk: the units that there are none for any more', async () => {
    const left = 16_384 - 4096;
    const ill = pages((of, unit) => of === 0 || unit < UNITS_PER_NODE - 1);
    await suffers(PAGES, ill, ALL_PAGES, () =>
      allOf([
        holding('sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages', left),
        holding('sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages', left),
        holding('sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages', 16_384 + left),
        holding('sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages', 16_384 + left),
      ]),
    );
  });

  it('huge pages that somebody else has taken: as many units as there are no free ones for', async () => {
    const taken = 5000;
    const ill = pages((of, unit) => of === 1 || unit < UNITS_PER_NODE - 2);
    await suffers(PAGES, ill, ALL_PAGES, () =>
      allOf([
        holding('sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages', 16_384 - taken),
        holding('sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages', 2 * 16_384 - taken),
      ]),
    );
  });

  it('a drive that is given another driver', async () => {
    const at = `sys/bus/pci/devices/${DRIVE}/driver`;
    await suffers(VFIO, [`!${DRIVE}-0`], [`${DRIVE}-0`], () => {
      const back = away(at);
      node.machine.link(at, 'sys/bus/pci/drivers/nvme');
      return () => {
        rmSync(node.machine.at(at));
        back();
      };
    });
  });

  it('each with its cause in the log, and none with anything but its health taken away', () => {
    const causes = node.log
      .filter(({ message }) => message === 'device is unhealthy')
      .flatMap((line) => (Array.isArray(line.causes) ? line.causes.map(String) : []));
    for (const cause of [/port 1 of mlx5_0 is DOWN/, /not there any more/, /cannot be read/, /nvidia-fs/, /pages/]) {
      assert(
        causes.some((one) => cause.test(one)),
        `${cause} in ${causes.join('; ')}`,
      );
    }
    for (const [resource, count] of [
      [RDMA, 4],
      [CUFILE, 2],
      [PAGES, 8],
      [VFIO, 1],
    ] as const) {
      for (const list of node.kubelet.lists(resource)) assert.equal(list.length, count, resource);
    }
  });
});
