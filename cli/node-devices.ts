import { GrpcClient } from '../common/grpc/index.ts';
import { services } from '../proto/gen/kubelet.js';
import type { v1 } from '../proto/gen/messages.js';
import type { ReportDevices } from './locality-report.ts';

const PREFIX = 'nabustore.io/';
const TIMEOUT_MS = 5000;
/** As the device plugin takes from the same API. */
const MESSAGE_BYTES = 16 << 20;
/** What a report may have (charts/nabustore/crds). */
const MOST_REPORTED = 64;

type Devices = ReadonlyMap<string, ReadonlyMap<string, number | undefined>>;

/** By resource and id the lowest NUMA node; the kubelet names a device once for each of its nodes. */
function devicesIn(entries: readonly v1.ContainerDevices[]): Devices {
  const found = new Map<string, Map<string, number | undefined>>();
  for (const { resourceName, deviceIds, topology } of entries) {
    if (!resourceName.startsWith(PREFIX)) continue;
    const ids = found.get(resourceName) ?? new Map<string, number | undefined>();
    found.set(resourceName, ids);
    const nodes = (topology?.nodes ?? []).map(({ ID }) => Number(ID));
    for (const id of deviceIds) {
      const known = ids.get(id);
      const all = known === undefined ? nodes : [known, ...nodes];
      ids.set(id, all.length === 0 ? undefined : Math.min(...all));
    }
  }
  return found;
}

/** Free and total by NUMA node. A resource of which a device has none says nothing. Pure. */
function counted(all: Devices, held: Devices): ReportDevices[] {
  return [...all].flatMap(([resource, ids]) => {
    const byNuma = new Map<number, { total: number; free: number }>();
    for (const [id, numaNode] of ids) {
      if (numaNode === undefined) return [];
      const { total, free } = byNuma.get(numaNode) ?? { total: 0, free: 0 };
      const isHeld = held.get(resource)?.has(id) === true;
      byNuma.set(numaNode, { total: total + 1, free: free + (isHeld ? 0 : 1) });
    }
    return [...byNuma].sort(([a], [b]) => a - b).map(([numaNode, units]) => ({ resource, numaNode, ...units }));
  });
}

/**
 * What the kubelet of this node has of nabustore.io/* on which NUMA node, and how many no container holds: its pod resources API v1, which
 * only processes of the node can ask. Throws UNAVAILABLE, TIMEOUT, UNIMPLEMENTED.
 */
export async function nodeDevices(socket: string): Promise<readonly ReportDevices[]> {
  const client = new GrpcClient({ address: { kind: 'unix', path: socket }, maxMessageBytes: MESSAGE_BYTES });
  try {
    const lister = client.service(services['v1.PodResourcesLister']);
    const o = { timeoutMs: TIMEOUT_MS };
    const [{ devices }, { podResources }] = await Promise.all([
      lister.getAllocatableResources({}, o),
      lister.list({}, o),
    ]);
    const held = podResources.flatMap(({ containers }) => containers.flatMap((container) => container.devices));
    return counted(devicesIn(devices), devicesIn(held)).slice(0, MOST_REPORTED);
  } finally {
    client.close();
  }
}
