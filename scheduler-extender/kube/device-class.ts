import { metadataOf, objectAt, objectOf, textAt } from './fields.ts';

/** What we keep of a resource.k8s.io/v1 DeviceClass. */
export type DeviceClassFacts = {
  readonly name: string;
  /** Pods that ask for this extended resource get devices of the class; '' for none. */
  readonly extendedResource: string;
};

/** k8s.io/api/resource/v1, ResourceDeviceClassPrefix: how pods ask for devices of any class. */
const IMPLICIT_PREFIX = 'deviceclass.resource.kubernetes.io/';

export function deviceClassFacts(value: unknown): DeviceClassFacts {
  const given = objectOf(value);
  const { name } = metadataOf(given, 'DeviceClass');
  return { name, extendedResource: textAt(objectAt(given, 'spec'), 'extendedResourceName') };
}

export function isImplicitDeviceResource(resource: string): boolean {
  return resource.startsWith(IMPLICIT_PREFIX);
}
