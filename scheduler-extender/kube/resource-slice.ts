import { type Json, listAt, metadataOf, numberAt, objectAt, objectOf, requiredText, textAt } from './fields.ts';
import { RESOURCE_PREFIX } from './names.ts';
import { quantityOf } from './quantity.ts';

/** Who publishes the devices of nodes whose device plugin has resources of mode `dra`. */
export const DEVICE_DRIVER = 'devices.nabustore.io';

export type SliceUnits = {
  /** 'nabustore.io/rdma' */
  readonly resource: string;
  /** -1: it is not said. */
  readonly numaNode: number;
  /** How many containers may have one. */
  readonly units: number;
};

/** What we keep of a resource.k8s.io/v1 ResourceSlice of our driver: counts, which is what pods without a claim of their own ask by. */
export type ResourceSliceFacts = {
  readonly name: string;
  readonly node: string;
  /** Only the slices of the highest one in a pool count. */
  readonly generation: number;
  readonly units: readonly SliceUnits[];
};

/** docs/device-plugin.md, "Claims": what is said of a device. */
const ATTRIBUTE = { resource: 'nabustore.io/resource', numaNode: 'nabustore.io/numaNode' } as const;
const SLOTS = 'nabustore.io/slots';
/** Kubernetes allows 128 devices in a slice; nobody shares one among more. */
const MOST_SLOTS = 1024;
const MOST_NUMA_NODES = 1024;
const KEEPS_AWAY: ReadonlySet<string> = new Set(['NoSchedule', 'NoExecute']);

function unitsOf(device: Json): SliceUnits | undefined {
  const attributes = objectAt(device, 'attributes');
  const resource = textAt(objectAt(attributes, ATTRIBUTE.resource), 'string');
  const isHealthy = !listAt(device, 'taints').some((taint) => KEEPS_AWAY.has(textAt(objectOf(taint), 'effect')));
  if (!resource.startsWith(RESOURCE_PREFIX) || !isHealthy) return undefined;
  const said = numberAt(objectAt(attributes, ATTRIBUTE.numaNode), 'int') ?? -1;
  const numaNode = Number.isInteger(said) && said >= 0 && said < MOST_NUMA_NODES ? said : -1;
  const slots = quantityOf(objectAt(objectAt(device, 'capacity'), SLOTS).value) ?? 1;
  return { resource, numaNode, units: Math.min(Math.max(slots, 1), MOST_SLOTS) };
}

export function resourceSliceFacts(value: unknown): ResourceSliceFacts {
  const slice = objectOf(value);
  const { name } = metadataOf(slice, 'ResourceSlice');
  const spec = objectAt(slice, 'spec');
  const units = new Map<string, SliceUnits>();
  for (const device of listAt(spec, 'devices')) {
    const one = unitsOf(objectOf(device));
    if (one === undefined) continue;
    const key = `${one.numaNode} ${one.resource}`;
    units.set(key, { ...one, units: one.units + (units.get(key)?.units ?? 0) });
  }
  return {
    name,
    node: requiredText(spec, 'nodeName', 'ResourceSlice.spec.nodeName'),
    generation: numberAt(objectAt(spec, 'pool'), 'generation') ?? 0,
    units: textAt(spec, 'driver') === DEVICE_DRIVER ? [...units.values()] : [],
  };
}
