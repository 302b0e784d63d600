import type { FactsOf } from '../cluster/index.ts';
import {
  claimFacts,
  csiNodeFacts,
  DEVICE_DRIVER,
  deviceClassFacts,
  localityReportFacts,
  nodeFacts,
  type PlaceLabels,
  persistentVolumeFacts,
  podFacts,
  resourceSliceFacts,
  storageCapacityFacts,
  storageClassFacts,
} from '../kube/index.ts';

/** Kinds that the API server tells us of. */
export const WATCHED = [
  'node',
  'csiNode',
  'storageClass',
  'volume',
  'claim',
  'pod',
  'capacity',
  'report',
  'slice',
  'deviceClass',
] as const;
export type WatchedKind = (typeof WATCHED)[number];

export type KindSource<K extends WatchedKind> = {
  readonly kind: K;
  /** For people: 'pods'. */
  readonly plural: string;
  readonly path: string;
  /** What the index calls an object by, from its metadata. */
  readonly keyBy: 'name' | 'uid' | 'namespaced';
  /** Others are not asked for. */
  readonly fieldSelector?: string;
  /** A cluster may be without the resource, or keep it from us: then nothing is known of it, and that is no fault. */
  readonly isOptional?: boolean;
  read(object: unknown): FactsOf[K];
};

/** Where each kind is listed and watched, and how an object is cut down. */
export function kindSources(labels: PlaceLabels): { readonly [K in WatchedKind]: KindSource<K> } {
  const storage = '/apis/storage.k8s.io/v1';
  return {
    node: {
      kind: 'node',
      plural: 'nodes',
      path: '/api/v1/nodes',
      keyBy: 'name',
      read: (object) => nodeFacts(object, labels),
    },
    csiNode: { kind: 'csiNode', plural: 'CSI nodes', path: `${storage}/csinodes`, keyBy: 'name', read: csiNodeFacts },
    storageClass: {
      kind: 'storageClass',
      plural: 'storage classes',
      path: `${storage}/storageclasses`,
      keyBy: 'name',
      read: storageClassFacts,
    },
    volume: {
      kind: 'volume',
      plural: 'persistent volumes',
      path: '/api/v1/persistentvolumes',
      keyBy: 'name',
      read: persistentVolumeFacts,
    },
    claim: {
      kind: 'claim',
      plural: 'claims',
      path: '/api/v1/persistentvolumeclaims',
      keyBy: 'namespaced',
      read: claimFacts,
    },
    pod: { kind: 'pod', plural: 'pods', path: '/api/v1/pods', keyBy: 'uid', read: podFacts },
    capacity: {
      kind: 'capacity',
      plural: 'storage capacities',
      path: `${storage}/csistoragecapacities`,
      keyBy: 'namespaced',
      read: storageCapacityFacts,
    },
    report: {
      kind: 'report',
      plural: 'locality reports',
      path: '/apis/nabustore.io/v1alpha1/localityreports',
      keyBy: 'name',
      isOptional: true,
      read: localityReportFacts,
    },
    slice: {
      kind: 'slice',
      plural: 'resource slices',
      path: '/apis/resource.k8s.io/v1/resourceslices',
      keyBy: 'name',
      fieldSelector: `spec.driver=${DEVICE_DRIVER}`,
      isOptional: true,
      read: resourceSliceFacts,
    },
    deviceClass: {
      kind: 'deviceClass',
      plural: 'device classes',
      path: '/apis/resource.k8s.io/v1/deviceclasses',
      keyBy: 'name',
      isOptional: true,
      read: deviceClassFacts,
    },
  };
}
