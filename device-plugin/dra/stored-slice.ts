import { z } from 'zod';
import type { ResourceSliceSpec, SliceDevice } from './resource-api.ts';

const storedTaintSchema = z.looseObject({
  key: z.string(),
  value: z.string().optional(),
  effect: z.string(),
  timeAdded: z.string().optional(),
});

const storedDeviceSchema = z.looseObject({ name: z.string(), taints: z.array(storedTaintSchema).optional() });

const storedSliceSchema = z.looseObject({
  /** What was only tried (dryRun) has no version. */
  metadata: z.looseObject({ name: z.string(), uid: z.string(), resourceVersion: z.string().default('') }),
  spec: z.looseObject({
    driver: z.string(),
    nodeName: z.string().optional(),
    pool: z.looseObject({ name: z.string(), generation: z.int(), resourceSliceCount: z.int() }),
    devices: z.array(storedDeviceSchema).nullish(),
  }),
});

const storedListSchema = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string() }),
  items: z.array(storedSliceSchema),
});

type StoredDevice = z.output<typeof storedDeviceSchema>;

/** A ResourceSlice as the API server has it, what we do not know of it included. */
export type StoredSlice = z.output<typeof storedSliceSchema>;
export type StoredSlices = z.output<typeof storedListSchema>;

/** Throws a ZodError for what is no ResourceSlice. */
export function parseSlice(object: unknown): StoredSlice {
  return storedSliceSchema.parse(object);
}

export function parseSlices(object: unknown): StoredSlices {
  return storedListSchema.parse(object);
}

/** Text that is equal for equal values, whatever the order of their keys. What is undefined or null is not there. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).filter(([, field]) => field !== undefined && field !== null);
  const texts = entries.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`);
  return `{${texts.sort().join(',')}}`;
}

/** The server adds when a taint came. */
function withoutTimes(device: StoredDevice | SliceDevice): unknown {
  if (device.taints === undefined) return device;
  return { ...device, taints: device.taints.map((taint) => ({ ...taint, timeAdded: undefined })) };
}

/** Equal for equal lists of devices, whatever the server adds to say when a taint came. */
export function devicesText(devices: readonly (StoredDevice | SliceDevice)[]): string {
  return canonical(devices.map(withoutTimes));
}

/** The devices to write, with the times of the taints that they had: a new time would say that they came now. */
export function withTimes(stored: StoredSlice, devices: readonly SliceDevice[]): readonly SliceDevice[] {
  const known = new Map((stored.spec.devices ?? []).map((device) => [device.name, device]));
  return devices.map((device) => {
    const before = known.get(device.name)?.taints ?? [];
    if (device.taints === undefined || before.length === 0) return device;
    const taints = device.taints.map((taint) => {
      const same = before.find(
        ({ key, value, effect }) => key === taint.key && value === taint.value && effect === taint.effect,
      );
      return same?.timeAdded === undefined ? taint : { ...taint, timeAdded: same.timeAdded };
    });
    return { ...device, taints };
  });
}

/** What an API server did not keep of what it was sent. */
export function droppedFeatures(
  stored: StoredSlice,
  sent: Pick<ResourceSliceSpec, 'devices'>,
): { taints: boolean; sharing: boolean } {
  const there = new Map((stored.spec.devices ?? []).map((device) => [device.name, device]));
  const lacks = (has: (device: object) => boolean): boolean =>
    sent.devices.some((device) => has(device) && !has(there.get(device.name) ?? {}));
  return {
    taints: lacks((device) => Array.isArray(Reflect.get(device, 'taints'))),
    sharing: lacks((device) => Reflect.get(device, 'allowMultipleAllocations') === true),
  };
}
