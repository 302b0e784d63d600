import { slotDeviceName } from '../resources/index.ts';
import type { DraDevice } from './dra-device.ts';
import { isPublished } from './dra-device.ts';
import { ATTRIBUTES, DRIVER_NAME, SLOTS, UNHEALTHY } from './driver-name.ts';
import { quantityText } from './quantity.ts';
import type { DeviceTaint, ResourceSliceSpec, SliceDevice } from './resource-api.ts';

/** What the API server keeps of what we send: beta and on in Kubernetes 1.36, alpha and off in 1.34. */
export type ServerFeatures = {
  /** DRADeviceTaints. */
  readonly taints: boolean;
  /** DRAConsumableCapacity. */
  readonly sharing: boolean;
};

export type SliceOptions = {
  readonly nodeName: string;
  readonly features: ServerFeatures;
  readonly generation: number;
};

/** resource/v1: ResourceSliceMaxDevices, and ResourceSliceMaxDevicesWithAdvancedFeatures. */
const MOST_DEVICES = 128;
const MOST_WITH_TAINTS = 64;

function taintsOf({ isHealthy, causes }: DraDevice): { readonly taints?: readonly DeviceTaint[] } {
  if (isHealthy) return {};
  return { taints: [{ key: UNHEALTHY, value: causes[0]?.code ?? 'recovering', effect: 'NoSchedule' }] };
}

/** One claim takes one slot unless it asks for more; a claim for all of them has the device to itself. */
function shared(slots: number): Pick<SliceDevice, 'allowMultipleAllocations' | 'capacity'> {
  const requestPolicy = { default: '1', validRange: { min: '1', step: '1' } };
  return { allowMultipleAllocations: true, capacity: { [SLOTS]: { value: quantityText(slots), requestPolicy } } };
}

function published(device: DraDevice, { taints, sharing }: ServerFeatures): readonly SliceDevice[] {
  if (!isPublished(device) || !(device.isHealthy || taints)) return [];
  const { name, attributes, units } = device;
  const health = taints ? taintsOf(device) : {};
  if (units.length === 1) return [{ name, attributes, ...health }];
  if (sharing) return [{ name, attributes, ...shared(units.length), ...health }];
  return units.map((_, slot) => ({
    name: slotDeviceName(name, slot),
    attributes: { ...attributes, [ATTRIBUTES.slot]: { int: slot } },
    ...health,
  }));
}

/** A slice is as long as what is in it allows: a device that turns unhealthy moves its neighbours only where it must. */
function chunks(devices: readonly SliceDevice[]): readonly (readonly SliceDevice[])[] {
  const all: SliceDevice[][] = [[]];
  let hasTaints = false;
  for (const device of devices) {
    const last = all.at(-1) ?? [];
    hasTaints ||= device.taints !== undefined;
    if (last.length < (hasTaints ? MOST_WITH_TAINTS : MOST_DEVICES)) {
      last.push(device);
      continue;
    }
    all.push([device]);
    hasTaints = device.taints !== undefined;
  }
  return all;
}

/**
 * Pure. The ResourceSlices of one node: one pool of its name, always at least one slice, because an empty pool says that the
 * driver is there. Devices in the order given: the scheduler takes the first that fits.
 *
 * Where the API server does not keep taints an unhealthy device is left out; where it does not keep shared capacity
 * a device of several slots is published once per slot. `degradations` says so in words.
 */
export function resourceSlices(
  devices: readonly DraDevice[],
  { nodeName, features, generation }: SliceOptions,
): readonly ResourceSliceSpec[] {
  const lists = chunks(devices.flatMap((device) => published(device, features)));
  const pool = { name: nodeName, generation, resourceSliceCount: lists.length };
  return lists.map((list) => ({ driver: DRIVER_NAME, nodeName, pool, devices: list }));
}

/** What a cluster without these features does not get, in sentences; none with all of them. */
export function degradations({ taints, sharing }: ServerFeatures): readonly string[] {
  return [
    ...(taints
      ? []
      : [
          'DRADeviceTaints is off in the API server: a device that turns unhealthy is not tainted but taken from the pool',
        ]),
    ...(sharing
      ? []
      : [
          'DRAConsumableCapacity is off in the API server: a shared device is published once per slot, and a claim for several may get slots of one device',
        ]),
  ];
}
