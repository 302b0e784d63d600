import type { Inventory } from '../discovery/index.ts';
import type { KernelEvent } from './kernel-events.ts';

/**
 * Subsystems of which every uevent may change an inventory. A node on which pods come and go has hundreds of others a
 * minute, of network queues and block devices.
 */
const SUBSYSTEMS: ReadonlySet<string> = new Set([
  'pci',
  'infiniband',
  'infiniband_verbs',
  'infiniband_mad',
  'nvme',
  'vfio',
  'vfio-dev',
  'misc',
  'iommu',
  'module',
  'node',
]);

/** Whether what the kernel said may make this inventory untrue. When in doubt, it does. Pure. */
export function isRelevant(event: KernelEvent, machine: Inventory): boolean {
  switch (event.kind) {
    case 'overflow':
      return true;
    case 'ended':
      return false;
    case 'link':
      return machine.hcas.some(
        ({ netDevices, ports }) =>
          netDevices.some(({ name }) => name === event.name) || ports.some(({ netDevice }) => netDevice === event.name),
      );
    case 'device':
      if (SUBSYSTEMS.has(event.subsystem) || event.subsystem.startsWith('nvidia')) return true;
      // A pod's interface is below /devices/virtual, that of a card below its PCI function.
      return event.subsystem === 'net' && event.devicePath.startsWith('/devices/pci');
  }
}
