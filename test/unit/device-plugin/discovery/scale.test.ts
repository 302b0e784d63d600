import assert from 'node:assert/strict';
import { discover } from '../../../../device-plugin/discovery/index.ts';
import type { FunctionDescription, MachineDescription } from '../../../support/machine-description.ts';
import { isMarker, MachineTree } from '../../../support/machine-tree.ts';

const HCAS = 500;
const DRIVES = 500;
const MIB = 1024 * 1024;
const hex = (value: number): string => value.toString(16).padStart(2, '0');

function at(index: number, domain: number): string {
  const bus = `000${domain}:${hex(index >> 5)}`;
  return `pci${bus}/${bus}:${hex(index & 31)}.0`;
}

function hca(index: number): FunctionDescription {
  return {
    path: at(index, 0),
    ids: '15b3:1021',
    class: '0x020700',
    driver: 'mlx5_core',
    numa: 0,
    hca: {
      name: `mlx5_${index}`,
      guid: `a088:c203:0000:${index.toString(16).padStart(4, '0')}`,
      firmware: '28.43.1014',
      boardId: 'MT_0000000838',
      linkLayer: 'InfiniBand',
      state: '4: ACTIVE',
      physState: '5: LinkUp',
      rate: '400 Gb/sec (4X NDR)',
      netDevice: `ib${index}`,
      netState: 'up',
    },
  };
}

function drive(index: number): FunctionDescription {
  const nvme = { model: 'KIOXIA', serial: `S${index}`, firmware: '1', namespaces: [512_000_000] };
  return { path: at(index, 1), ids: '1e0f:0025', class: '0x010802', driver: 'nvme', numa: 0, nvme };
}

const LARGE: MachineDescription = {
  kernelRelease: '6.12.0',
  numaNodes: [{ cpus: '0', distances: '10' }],
  hugePages: [],
  functions: [
    ...Array.from({ length: HCAS }, (_, index) => hca(index)),
    ...Array.from({ length: DRIVES }, (_, index) => drive(index)),
  ],
};

describe('a machine with 1,000 devices', () => {
  it('is found whole, in the order of its names, in less than 100 MiB more', async function () {
    this.timeout(120_000);
    using tree = new MachineTree(LARGE);
    const before = process.memoryUsage().rss;
    const { hcas, nvme, findings } = await discover(tree.roots, {
      signal: AbortSignal.timeout(110_000),
      isCharDevice: isMarker,
    });
    const grownBytes = process.memoryUsage().rss - before;
    assert.deepEqual(findings, []);
    assert.deepEqual(
      hcas.map(({ name }) => name),
      Array.from({ length: HCAS }, (_, index) => `mlx5_${index}`),
    );
    assert.deepEqual(
      nvme.map(({ controller }) => controller?.name),
      Array.from({ length: DRIVES }, (_, index) => `nvme${index}`),
    );
    assert(grownBytes < 100 * MIB, `grew by ${Math.round(grownBytes / MIB)} MiB`);
  });
});
