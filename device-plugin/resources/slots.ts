import { deviceId } from '../kubelet/index.ts';
import type { Cause, UnitState } from './unit.ts';

export type SlottedDevice = Pick<UnitState, 'device' | 'numaNodes' | 'pcieRoot'> & {
  readonly causes: readonly Cause[];
};

/** The units of one device: `device-0` to `device-<slots - 1>`. */
export function slotsOf(device: SlottedDevice, slots: number): readonly UnitState[] {
  return Array.from({ length: slots }, (_, slot) => ({ ...device, id: deviceId(`${device.device}-${slot}`) }));
}
