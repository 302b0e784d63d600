import { listAt, metadataOf, numberAt, objectAt, objectOf, textAt } from './fields.ts';
import { DRIVER } from './names.ts';

/** What we keep of a storage.k8s.io/v1 CSINode. */
export type CsiNodeFacts = {
  readonly name: string;
  /** Whether our driver is registered there. */
  readonly hasDriver: boolean;
  /** Volumes of ours that may be attached at one time; undefined: no limit. */
  readonly attachLimit: number | undefined;
};

export function csiNodeFacts(value: unknown): CsiNodeFacts {
  const given = objectOf(value);
  const { name } = metadataOf(given, 'CSINode');
  const driver = listAt(objectAt(given, 'spec'), 'drivers')
    .map(objectOf)
    .find((entry) => textAt(entry, 'name') === DRIVER);
  const attachLimit = driver === undefined ? undefined : numberAt(objectAt(driver, 'allocatable'), 'count');
  return { name, hasDriver: driver !== undefined, attachLimit };
}
