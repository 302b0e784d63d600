import type { PciFunction } from './pci.ts';

export type DpuGeneration = 'BlueField' | 'BlueField-2' | 'BlueField-3' | 'BlueField-4';

/** A BlueField DPU: the network functions of one slot. Known for alignment; its ports are HCAs like any other. */
export type Dpu = {
  readonly generation: DpuGeneration;
  /** Domain, bus and device of the slot, '0000:c5:00'. */
  readonly slot: string;
  readonly functions: readonly PciFunction[];
};

const MELLANOX = '15b3';
const NETWORK_CLASS = /^02/;
/** The integrated ConnectX of each generation (drivers/net/ethernet/mellanox/mlx5/core/main.c, mlx5_core_pci_table). */
const GENERATIONS: ReadonlyMap<string, DpuGeneration> = new Map([
  ['a2d2', 'BlueField'],
  ['a2d6', 'BlueField-2'],
  ['a2dc', 'BlueField-3'],
  ['a2df', 'BlueField-4'],
]);

export function dpuGenerationOf({ vendor, device, class: code }: PciFunction): DpuGeneration | undefined {
  if (vendor !== MELLANOX || device === null || code === null || !NETWORK_CLASS.test(code)) return undefined;
  return GENERATIONS.get(device);
}

/** Pure: the DPUs among the functions, by slot. */
export function dpusAmong(functions: readonly PciFunction[]): readonly Dpu[] {
  const bySlot = new Map<string, Dpu>();
  for (const pci of functions) {
    const generation = dpuGenerationOf(pci);
    if (generation === undefined) continue;
    const slot = pci.address.slice(0, pci.address.lastIndexOf('.'));
    const known = bySlot.get(slot);
    bySlot.set(slot, { generation, slot, functions: [...(known?.functions ?? []), pci] });
  }
  return [...bySlot.values()];
}
