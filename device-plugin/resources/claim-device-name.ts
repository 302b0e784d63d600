import { createHash } from 'node:crypto';
import type { GdsConfig, NvmeVfioConfig, RdmaConfig } from '../config/index.ts';

/** Of a DNS label's 63 what '-slot-999' leaves. */
const LABEL_CHARS = 54;
const DIGEST_CHARS = 8;
const PCI_ADDRESS = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/;
const SLOT = /-slot-(\d{1,4})$/;

/**
 * A device as claims and ResourceSlices name it, 'hca-0000-18-00-0' for 0000:18:00.0: a DNS label, the same for as long as
 * the device is where it is. Names that are no PCI addresses have a digest behind them where two of them could become one
 * label, or where they end as that of a slot does.
 */
export function claimDeviceName(kind: (RdmaConfig | GdsConfig | NvmeVfioConfig)['kind'], device: string): string {
  const place = device.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  const label = `${kind === 'nvme-vfio' ? 'nvme' : 'hca'}-${place}`.replace(/-+$/, '');
  if (PCI_ADDRESS.test(device) || (place === device && label.length <= LABEL_CHARS && !SLOT.test(label))) return label;
  const digest = createHash('sha256').update(device).digest('hex').slice(0, DIGEST_CHARS);
  return `${label.slice(0, LABEL_CHARS - DIGEST_CHARS - 1).replace(/-+$/, '')}-${digest}`;
}

/** Of a slot that is published as a device of its own. */
export function slotDeviceName(name: string, slot: number): string {
  return `${name}-slot-${slot}`;
}

/** Either name's device. */
export function physicalName(name: string): string {
  return name.replace(SLOT, '');
}
