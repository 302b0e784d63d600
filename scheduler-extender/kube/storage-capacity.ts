import { listAt, metadataOf, objectAt, objectOf, requiredText, textAt, textsOf } from './fields.ts';
import { NODE_KEY, ZONE_KEY } from './names.ts';
import { quantityOf } from './quantity.ts';

/** Where a capacity can be used from: what our driver reports topology by. Undefined members do not matter. */
export type Segment = { readonly zones: readonly string[] | undefined; readonly nodes: readonly string[] | undefined };

/** What we keep of a storage.k8s.io/v1 CSIStorageCapacity. */
export type StorageCapacityFacts = {
  /** namespace/name */
  readonly key: string;
  readonly className: string;
  /** What can still be made of the class; undefined: it says nothing, and then nothing fits (volume_binding, capacitySufficient). */
  readonly capacityBytes: number | undefined;
  readonly maxVolumeBytes: number | undefined;
  /** Undefined: reachable from nowhere, or described in a way that is not ours. */
  readonly segment: Segment | undefined;
};

const OURS: ReadonlySet<string> = new Set([ZONE_KEY, NODE_KEY]);

/** The selectors that the provisioner writes: labels, or expressions that list values, of our two keys. */
function segmentOf(topology: unknown): Segment | undefined {
  if (typeof topology !== 'object' || topology === null) return undefined;
  const selector = objectOf(topology);
  const wanted = new Map<string, readonly string[]>();
  const narrow = (key: string, values: readonly string[]): void => {
    const before = wanted.get(key);
    wanted.set(key, before === undefined ? values : before.filter((value) => values.includes(value)));
  };
  for (const [key, value] of textsOf(objectAt(selector, 'matchLabels'))) narrow(key, [value]);
  for (const expression of listAt(selector, 'matchExpressions').map(objectOf)) {
    if (textAt(expression, 'operator') !== 'In') return undefined;
    narrow(
      textAt(expression, 'key'),
      listAt(expression, 'values').flatMap((value) => (typeof value === 'string' ? [value] : [])),
    );
  }
  if ([...wanted.keys()].some((key) => !OURS.has(key))) return undefined;
  return { zones: wanted.get(ZONE_KEY), nodes: wanted.get(NODE_KEY) };
}

export function storageCapacityFacts(value: unknown): StorageCapacityFacts {
  const given = objectOf(value);
  const { meta, name } = metadataOf(given, 'CSIStorageCapacity');
  return {
    key: `${requiredText(meta, 'namespace', 'CSIStorageCapacity.metadata.namespace')}/${name}`,
    className: textAt(given, 'storageClassName'),
    capacityBytes: quantityOf(given.capacity),
    maxVolumeBytes: quantityOf(given.maximumVolumeSize),
    segment: segmentOf(given.nodeTopology),
  };
}
