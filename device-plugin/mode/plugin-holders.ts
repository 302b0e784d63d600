import type { PodHolding } from '../pod-resources/index.ts';
import { DEVICE_KINDS, slotHeld } from '../resources/index.ts';
import type { Held } from './device-mode.ts';

/** Pure. The devices that pods have by the device plugin, as the pod resources API shows them. */
export function pluginHolders(pods: readonly PodHolding[]): Held {
  const units = pods.flatMap(({ containers }) => containers).flatMap(({ devices }) => devices);
  return { devices: new Set(units.flatMap((unit) => slotHeld(unit, DEVICE_KINDS)?.device ?? [])), isComplete: true };
}
