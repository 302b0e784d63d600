import { RESOURCE_DOMAIN } from '../config/index.ts';
import type { PodHolding } from '../pod-resources/index.ts';
import type { Held } from './device-mode.ts';

/** Resources of ours whose units are slots of devices that can be claimed as well. */
const RESOURCE = new RegExp(`^${RESOURCE_DOMAIN.replaceAll('.', '\\.')}/(?:rdma|gds|nvme-vfio)(?:-|$)`);
const SLOT = /-\d+$/;

/** Pure. The devices that pods have by the device plugin, as the pod resources API shows them. */
export function pluginHolders(pods: readonly PodHolding[]): Held {
  const units = pods.flatMap(({ containers }) => containers).flatMap(({ devices }) => devices);
  const ours = units.filter(({ resource }) => RESOURCE.test(resource));
  return { devices: new Set(ours.map(({ id }) => id.replace(SLOT, ''))), isComplete: true };
}
