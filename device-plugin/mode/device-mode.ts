import type { Cause } from '../resources/index.ts';

/** How a device is given out: as a unit of an extended resource, or by claims. */
export type DeviceMode = 'plugin' | 'dra';

/** Devices that somebody has, by the name that their units have. */
export type Held = {
  readonly devices: ReadonlySet<string>;
  /** False where what is held is not all known: any device may be. */
  readonly isComplete: boolean;
};

/** Who holds what in each mode; undefined where it cannot be told now. */
export type Holders = Readonly<Record<DeviceMode, Held | undefined>>;

const BY: Readonly<Record<DeviceMode, string>> = { plugin: 'the device plugin', dra: 'a claim' };

export function otherMode(mode: DeviceMode): DeviceMode {
  return mode === 'plugin' ? 'dra' : 'plugin';
}

/** Pure. Why a device cannot be given out in a mode yet: somebody has it the other way, or may have. */
export function modeCause(device: string, mode: DeviceMode, holders: Holders): Cause | undefined {
  const other = otherMode(mode);
  const held = holders[other];
  if (held === undefined) {
    return { code: 'mode', detail: `whether a pod has ${device} by ${BY[other]} cannot be told now` };
  }
  if (held.devices.has(device)) {
    return {
      code: 'mode',
      detail: `a pod still has ${device} by ${BY[other]}: it is given out by ${BY[mode]} after that`,
    };
  }
  if (held.isComplete) return undefined;
  return { code: 'mode', detail: `what some pod has by ${BY[other]} cannot be read: it may be ${device}` };
}
