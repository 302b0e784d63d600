import type { ClaimableConfig } from './claimable-pool.ts';

/** DNS label: at most 63 characters. */
const LABEL_CHARS = 63;
const SLOT = /-slot-(\d{1,4})$/;

/** 'hca-0000-18-00-0' for 0000:18:00.0: a DNS label, the same for as long as the device is where it is. */
export function deviceName(kind: ClaimableConfig['kind'], device: string): string {
  const place = device.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  return `${kind === 'nvme-vfio' ? 'nvme' : 'hca'}-${place}`.slice(0, LABEL_CHARS).replace(/-+$/, '');
}

/** Of a slot that is published as a device of its own. */
export function slotDeviceName(name: string, slot: number): string {
  return `${name}-slot-${slot}`;
}

/** Either name's device. */
export function physicalName(name: string): string {
  return name.replace(SLOT, '');
}
