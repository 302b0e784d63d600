import { NabuError } from '../../common/errors/index.ts';
import type { v1beta1 } from '../../proto/gen/messages.js';
import { type DeviceId, deviceId } from './device-pool.ts';

/** More containers than any pod has; the kubelet itself asks for one at a time. */
const CONTAINER_LIMIT = 1024;

function refuse(field: string, reason: string): NabuError {
  return NabuError.of('INVALID_ARGUMENT', { field, reason });
}

/** Well formed, at least one unless `mayBeEmpty`, no two equal. */
function parseIds(field: string, texts: readonly string[], mayBeEmpty = false): readonly DeviceId[] {
  if (texts.length === 0 && !mayBeEmpty) throw refuse(field, 'names no device');
  const seen = new Set<string>();
  return texts.map((text) => {
    const id = deviceId(text, field);
    if (seen.has(id)) throw refuse(field, `names ${id} twice`);
    seen.add(id);
    return id;
  });
}

function requireContainers<T>(requests: readonly T[]): readonly T[] {
  if (requests.length === 0) throw refuse('container_requests', 'names no container');
  if (requests.length > CONTAINER_LIMIT) {
    throw refuse('container_requests', `${requests.length} containers, at most ${CONTAINER_LIMIT} are taken`);
  }
  return requests;
}

/** The ids of each container of an Allocate, none of them in two. Throws INVALID_ARGUMENT. */
export function parseAllocate({ containerRequests }: v1beta1.AllocateRequest): readonly (readonly DeviceId[])[] {
  const containers = requireContainers(containerRequests).map(({ devicesIds }, at) =>
    parseIds(`container_requests[${at}].devices_ids`, devicesIds),
  );
  if (containers.length > 1) parseIds('container_requests', containers.flat());
  return containers;
}

export function parsePreStart({ devicesIds }: v1beta1.PreStartContainerRequest): readonly DeviceId[] {
  return parseIds('devices_ids', devicesIds);
}

/** What one container wants, in terms that hold: mustInclude lies in available, mustInclude.length <= size <= available.length. */
export type Preference = {
  readonly available: readonly DeviceId[];
  readonly mustInclude: readonly DeviceId[];
  readonly size: number;
};

function parsePreference(
  { availableDeviceIDs, mustIncludeDeviceIDs, allocationSize: size }: v1beta1.ContainerPreferredAllocationRequest,
  at: number,
): Preference {
  const field = `container_requests[${at}]`;
  const available = parseIds(`${field}.available_deviceIDs`, availableDeviceIDs);
  const mustInclude = parseIds(`${field}.must_include_deviceIDs`, mustIncludeDeviceIDs, true);
  if (size < 1) throw refuse(`${field}.allocation_size`, `${size} is not at least 1`);
  if (size > available.length) {
    throw refuse(`${field}.allocation_size`, `${size} is more than the ${available.length} that are available`);
  }
  if (mustInclude.length > size) {
    throw refuse(`${field}.allocation_size`, `${size} is less than the ${mustInclude.length} that must be included`);
  }
  const offered = new Set(available);
  const missing = mustInclude.find((id) => !offered.has(id));
  if (missing !== undefined) {
    throw refuse(`${field}.must_include_deviceIDs`, `${missing} is not among those that are available`);
  }
  return { available, mustInclude, size };
}

/** Throws INVALID_ARGUMENT. */
export function parsePreferences({ containerRequests }: v1beta1.PreferredAllocationRequest): readonly Preference[] {
  return requireContainers(containerRequests).map(parsePreference);
}
