import {
  type CufileGpu,
  type CufileHca,
  type CufileInput,
  type CufileSettings,
  type CufileVersion,
  cufileSettingsSchema,
} from '../../../../device-plugin/cufile/index.ts';

export function settingsOf(given: Record<string, unknown> = {}): CufileSettings {
  return cufileSettingsSchema.parse(given);
}

function gpu(pciAddress: string, numaNode: number): CufileGpu {
  return { pciAddress, numaNode, pcieRoot: `pci${pciAddress.slice(0, 7)}` };
}

function hca(
  name: string,
  netDevice: string,
  addresses: readonly string[],
  numaNode: number,
  pcieRoot: string,
): CufileHca {
  return { name, netDevices: [{ name: netDevice, addresses }], numaNode, pcieRoot };
}

/** Eight H200 and four ConnectX-7: each HCA is beside one GPU of a pair. */
const H200: Omit<CufileInput, 'cufileVersion'> = {
  mode: 'nvidia-fs',
  gpus: ['18', '2a', '3a', '5d', '9a', 'ab', 'ba', 'db'].map((bus, at) => gpu(`0000:${bus}:00.0`, at < 4 ? 0 : 1)),
  hcas: [
    hca('mlx5_0', 'ibp24s0', ['10.8.0.10'], 0, 'pci0000:18'),
    hca('mlx5_3', 'ibp58s0', ['10.8.0.13'], 0, 'pci0000:3a'),
    hca('mlx5_4', 'ibp154s0', ['10.8.0.14'], 1, 'pci0000:9a'),
    hca('mlx5_10', 'ibp186s0', ['10.8.0.20', 'fe80::a288:c2ff:fe46:1'], 1, 'pci0000:ba'),
  ],
};

export const MACHINES: Readonly<Record<string, Omit<CufileInput, 'cufileVersion'>>> = {
  h200: H200,
  'h200-container': { ...H200, gpus: H200.gpus.slice(4, 5), hcas: H200.hcas.slice(2, 3) },
  'roce-only': {
    mode: 'nvidia-fs',
    gpus: [gpu('0000:17:00.0', 0), gpu('0000:ca:00.0', 1)],
    hcas: [
      hca('mlx5_bond_0', 'bond0', ['192.168.40.7', '192.168.41.7'], 0, 'pci0000:17'),
      hca('mlx5_2', 'ens6f0np0', [], 1, 'pci0000:ca'),
    ],
  },
  'p2pdma-only': { mode: 'p2pdma', gpus: [gpu('0000:41:00.0', 0), gpu('0000:81:00.0', 1)], hcas: [] },
  'vm-nothing': { mode: 'compat', gpus: [], hcas: [] },
};

export function machine(name: string, cufileVersion: CufileVersion): CufileInput {
  const found = MACHINES[name];
  if (found === undefined) throw new Error(`no machine ${name}`);
  return { ...found, cufileVersion };
}
