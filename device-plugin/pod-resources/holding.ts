import type { v1 } from '../../proto/gen/messages.js';

/** One device of a device plugin, whoever's: 'nvidia.com/gpu' and a UUID, 'nabustore.io/rdma' and one of our ids. */
export type HeldDevice = {
  readonly resource: string;
  readonly id: string;
  /** As its plugin told the kubelet; ascending, empty where it did not. */
  readonly numaNodes: readonly number[];
};

/** One device of a claim (DRA), as its driver named it. */
export type ClaimedDevice = {
  readonly driver: string;
  readonly pool: string;
  readonly device: string;
  /** Where the device's capacity is shared between claims. */
  readonly shareId: string | undefined;
};

/** A claim (DRA) that a container uses; the claim's devices for this container alone. */
export type HeldClaim = {
  readonly namespace: string;
  readonly name: string;
  readonly devices: readonly ClaimedDevice[];
};

/** What one container holds, from its pod's admission until the pod has ended. */
export type ContainerHolding = {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  /** Each resource and id once, in the order in which the kubelet names them, which is none. */
  readonly devices: readonly HeldDevice[];
  readonly claims: readonly HeldClaim[];
  /** Bytes by resource, 'hugepages-2Mi'. Only a kubelet whose memory manager is Static says it. */
  readonly hugePages?: Readonly<Record<string, number>>;
};

/** Init containers are not among them, unless they go on beside the others (restartPolicy: Always). */
export type PodHolding = {
  readonly namespace: string;
  readonly name: string;
  readonly containers: readonly ContainerHolding[];
};

/** The kubelet names a device once for each of its NUMA nodes (Kubernetes 1.36, containerDevicesFromResourceDeviceInstances). */
function heldDevices(entries: readonly v1.ContainerDevices[]): readonly HeldDevice[] {
  const nodes = new Map<string, Map<string, Set<number>>>();
  for (const { resourceName, deviceIds, topology } of entries) {
    const byId = nodes.get(resourceName) ?? new Map<string, Set<number>>();
    nodes.set(resourceName, byId);
    for (const id of deviceIds) {
      const own = byId.get(id) ?? new Set<number>();
      byId.set(id, own);
      for (const { ID } of topology?.nodes ?? []) own.add(Number(ID));
    }
  }
  return [...nodes].flatMap(([resource, byId]) =>
    [...byId].map(([id, own]) => ({ resource, id, numaNodes: [...own].sort((a, b) => a - b) })),
  );
}

/** CDI names are left out: in 1.36 each device comes with those of the devices before it as well. */
function heldClaim({ claimNamespace, claimName, claimResources }: v1.DynamicResource): HeldClaim {
  const devices = claimResources.map(({ driverName, poolName, deviceName, shareId }) => ({
    driver: driverName,
    pool: poolName,
    device: deviceName,
    shareId,
  }));
  return { namespace: claimNamespace, name: claimName, devices };
}

/** One entry for each set of NUMA nodes that the pages are of. */
function heldHugePages(entries: readonly v1.ContainerMemory[]): Pick<ContainerHolding, 'hugePages'> {
  const hugePages: Record<string, number> = {};
  for (const { memoryType, size } of entries) {
    if (memoryType.startsWith('hugepages-')) hugePages[memoryType] = (hugePages[memoryType] ?? 0) + Number(size);
  }
  return Object.keys(hugePages).length === 0 ? {} : { hugePages };
}

/** Pure: what the kubelet says, in our terms. */
export function podHolding({ namespace, name, containers }: v1.PodResources): PodHolding {
  return {
    namespace,
    name,
    containers: containers.map((container) => ({
      namespace,
      pod: name,
      container: container.name,
      devices: heldDevices(container.devices),
      claims: container.dynamicResources.map(heldClaim),
      ...heldHugePages(container.memory),
    })),
  };
}

/**
 * The containers that hold a device. More than one where the kubelet has not yet let go of a pod that has ended; none where
 * the device is free or in an init container's hands.
 */
export function holdersAmong(pods: readonly PodHolding[], resource: string, id: string): readonly ContainerHolding[] {
  return pods
    .flatMap(({ containers }) => containers)
    .filter(({ devices }) => devices.some((device) => device.resource === resource && device.id === id));
}
