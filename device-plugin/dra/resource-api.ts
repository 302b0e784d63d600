/** What we write of resource.k8s.io/v1 (Kubernetes 1.36, staging/src/k8s.io/api/resource/v1/types.go); 1.34 has the same fields. */
export type DeviceAttribute =
  | { readonly string: string }
  | { readonly int: number }
  | { readonly bool: boolean }
  | { readonly version: string };

/** Quantities are strings; a policy is allowed on a device that takes several allocations alone. */
export type DeviceCapacity = {
  readonly value: string;
  readonly requestPolicy?: {
    readonly default: string;
    readonly validRange: { readonly min: string; readonly step?: string };
  };
};

export type DeviceTaint = {
  /** A label's name. */
  readonly key: string;
  /** A label's value. */
  readonly value?: string;
  readonly effect: 'NoSchedule';
};

/** One entry of spec.devices. Names of attributes and capacities are a domain, '/' and a C identifier. */
export type SliceDevice = {
  /** A DNS label, unique in the pool. */
  readonly name: string;
  readonly attributes: Readonly<Record<string, DeviceAttribute>>;
  readonly capacity?: Readonly<Record<string, DeviceCapacity>>;
  readonly allowMultipleAllocations?: true;
  readonly taints?: readonly DeviceTaint[];
};

export type ResourceSliceSpec = {
  readonly driver: string;
  readonly nodeName: string;
  readonly pool: { readonly name: string; readonly generation: number; readonly resourceSliceCount: number };
  readonly devices: readonly SliceDevice[];
};

export const RESOURCE_API_VERSION = 'resource.k8s.io/v1';
/** Below the API server's address. */
export const RESOURCE_API_PATH = `/apis/${RESOURCE_API_VERSION}`;
