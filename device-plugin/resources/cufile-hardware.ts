import type { CufileGpu, CufileHca } from '../cufile/index.ts';
import type { Gpu, Hca } from '../discovery/index.ts';
import type { NetAddresses } from './cufile-addresses.ts';

/** HCAs as a cufile.json names them: by the addresses of their network devices. */
export async function cufileHcas(hcas: readonly Hca[], addresses: NetAddresses): Promise<readonly CufileHca[]> {
  return await Promise.all(
    hcas.map(async ({ name, pci, ports, netDevices }) => {
      const names = new Set([
        ...netDevices.map((device) => device.name),
        ...ports.flatMap((port) => port.netDevice ?? []),
      ]);
      return {
        name,
        numaNode: pci?.numaNode ?? undefined,
        pcieRoot: pci?.pcieRoot ?? name,
        netDevices: await Promise.all(
          [...names].map(async (device) => ({ name: device, addresses: await addresses.of(device) })),
        ),
      };
    }),
  );
}

export function cufileGpus(gpus: readonly Gpu[]): readonly CufileGpu[] {
  return gpus.map(({ pci }) => ({
    pciAddress: pci.address,
    numaNode: pci.numaNode ?? undefined,
    pcieRoot: pci.pcieRoot ?? pci.address,
  }));
}
