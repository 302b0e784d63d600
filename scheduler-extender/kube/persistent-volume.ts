import { listAt, metadataOf, objectAt, objectOf, textAt } from './fields.ts';
import { DRIVER, ZONE_KEY } from './names.ts';
import { quantityOf } from './quantity.ts';

/** What we keep of a v1.PersistentVolume; of one that is another driver's, only that it is. */
export type PersistentVolumeFacts = {
  readonly name: string;
  /** Our volume id; '' for a volume of another driver. */
  readonly handle: string;
  readonly sizeBytes: number;
  /** Zones that it can be reached from; empty: all. */
  readonly zones: readonly string[];
};

const NO_ZONES: readonly string[] = Object.freeze([]);

/** Of each term of the node affinity (they are alternatives) the zones; a term without zones makes it all of them. */
function zonesOf(spec: ReturnType<typeof objectAt>): readonly string[] {
  const terms = listAt(objectAt(objectAt(spec, 'nodeAffinity'), 'required'), 'nodeSelectorTerms').map(objectOf);
  if (terms.length === 0) return NO_ZONES;
  const zones = new Set<string>();
  for (const term of terms) {
    const wanted = listAt(term, 'matchExpressions')
      .map(objectOf)
      .filter((expression) => textAt(expression, 'key') === ZONE_KEY && textAt(expression, 'operator') === 'In');
    if (wanted.length === 0) return NO_ZONES;
    for (const zone of wanted.flatMap((expression) => listAt(expression, 'values'))) {
      if (typeof zone === 'string') zones.add(zone);
    }
  }
  return [...zones].sort();
}

export function persistentVolumeFacts(value: unknown): PersistentVolumeFacts {
  const volume = objectOf(value);
  const { name } = metadataOf(volume, 'PersistentVolume');
  const spec = objectAt(volume, 'spec');
  const csi = objectAt(spec, 'csi');
  if (textAt(csi, 'driver') !== DRIVER) return { name, handle: '', sizeBytes: 0, zones: NO_ZONES };
  return {
    name,
    handle: textAt(csi, 'volumeHandle'),
    sizeBytes: quantityOf(objectAt(spec, 'capacity').storage) ?? 0,
    zones: zonesOf(spec),
  };
}
