import type { DeviceId } from '../kubelet/index.ts';

/** Why a unit cannot be had: a word for metrics, and a sentence for people. */
export type Cause = {
  readonly code: CauseCode;
  /** E.g. 'port 1 of mlx5_0 is DOWN'. */
  readonly detail: string;
};

export const CAUSE_CODES = [
  'absent', // it was there and is not any more
  'unreadable', // a file that says how it is cannot be read
  'link', // no port is in a state that counts as healthy
  'device-file', // a device file that it is used by is missing
  'driver', // bound to another driver than it has to be
  'nvidia-fs', // the module is not loaded, or not whole, and no other way past host memory is there
  'p2pdma', // the same of peer-to-peer DMA
  'pages', // fewer huge pages, or fewer free ones, than it needs
  'mode', // it is given out the other way (plugin or DRA), or waits for the last holder of that
] as const;
export type CauseCode = (typeof CAUSE_CODES)[number];

/** One thing that a container can be given: a device, or a slot of one. */
export type Unit = {
  readonly id: DeviceId;
  /** What it is a slot of: a PCI address, or a name that no PCI address has. Units of one device share it. */
  readonly device: string;
  /** Empty where the machine does not say. */
  readonly numaNodes: readonly number[];
  /** 'pci0000:80'; null for what is not on PCI. */
  readonly pcieRoot: string | null;
};

/** A unit as a machine shows it at one moment. Healthy: no cause against it. */
export type UnitState = Unit & { readonly causes: readonly Cause[] };
