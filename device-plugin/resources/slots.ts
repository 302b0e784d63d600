import { isResourceOf, type ResourceConfig } from '../config/index.ts';
import { deviceId } from '../kubelet/index.ts';
import type { HeldDevice } from '../pod-resources/index.ts';
import type { Cause, UnitState } from './unit.ts';

export type SlottedDevice = Pick<UnitState, 'device' | 'numaNodes' | 'pcieRoot'> & {
  readonly causes: readonly Cause[];
};

/** The units of one device: `device-0` to `device-<slots - 1>`. */
export function slotsOf(device: SlottedDevice, slots: number): readonly UnitState[] {
  return Array.from({ length: slots }, (_, slot) => ({ ...device, id: deviceId(`${device.device}-${slot}`) }));
}

/** Kinds whose units are slots of HCAs. */
export const HCA_KINDS: readonly ResourceConfig['kind'][] = ['rdma', 'gds'];
/** Kinds whose units are slots of devices; those of others count places and pages, which nobody else has. */
export const DEVICE_KINDS: readonly ResourceConfig['kind'][] = [...HCA_KINDS, 'nvme-vfio'];

/** Pure. Which slot of which device a unit is that a container holds; undefined: of none of these kinds of ours. */
export function slotHeld(
  { resource, id }: Pick<HeldDevice, 'resource' | 'id'>,
  kinds: readonly ResourceConfig['kind'][],
): { readonly device: string; readonly slot: number } | undefined {
  const [, device, slot] = /^(.+)-(\d+)$/.exec(id) ?? [];
  return device === undefined || !isResourceOf(resource, kinds) ? undefined : { device, slot: Number(slot) };
}
