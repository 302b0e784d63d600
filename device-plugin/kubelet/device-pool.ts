import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { ResourceName } from './resource-name.ts';

declare const brand: unique symbol;
/** One unit of a resource as the kubelet counts it: a device, or a slot of one. */
export type DeviceId = string & { readonly [brand]: 'DeviceId' };

/** Device plugin API v1beta1, Device.ID: "maximum length supported is 63 characters". */
const ID_LIMIT_CHARS = 63;
const ID = /^[!-~]+$/;

/** Printable ASCII without spaces, 1 to 63 characters. Throws INVALID_ARGUMENT that names the field. */
export function deviceId(text: string, field = 'device id'): DeviceId {
  if (text.length <= ID_LIMIT_CHARS && ID.test(text)) return text as DeviceId;
  const shown = JSON.stringify(text.slice(0, ID_LIMIT_CHARS));
  const reason = `${shown} is not 1 to ${ID_LIMIT_CHARS} printable characters without spaces`;
  throw NabuError.of('INVALID_ARGUMENT', { field, reason });
}

export type PooledDevice = {
  readonly id: DeviceId;
  readonly healthy: boolean;
  /** The nodes that the device is near to; empty where the machine does not say. */
  readonly numaNodes: readonly number[];
};

/** A file of the host as the container sees it. */
export type GrantedMount = { readonly containerPath: string; readonly hostPath: string; readonly readOnly: boolean };

/** A device file; the permissions are those of the device cgroup. */
export type GrantedDevice = {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly permissions: 'r' | 'rw' | 'rwm';
};

/** Everything that one container gets for the ids that it was given. */
export type ContainerGrant = {
  readonly devices: readonly GrantedDevice[];
  readonly mounts: readonly GrantedMount[];
  readonly environment: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Fully qualified CDI names, 'vendor/class=device'. */
  readonly cdiDevices: readonly string[];
};

export type PoolOptions = {
  /** The kubelet calls PreStartContainer before it starts a container: `prepare` has to be there. */
  readonly preStartRequired: boolean;
  /** The kubelet asks `prefer` before it chooses. */
  readonly getPreferredAllocationAvailable: boolean;
};

export type Unsubscribe = () => void;

/**
 * One resource: what there is of it, which units suit each other, and what a container gets with them. Everything that
 * knows about HCAs, huge pages or cuFile is behind this; everything that knows about the kubelet is in front of it.
 *
 * The ids that reach it are checked: well formed, no two equal, and in `devices()` when the server last looked.
 */
export type DevicePool = {
  readonly resource: ResourceName;
  readonly options: PoolOptions;
  /** All units, the unhealthy ones too; no two with one id. Cheap: it is called after every change. */
  devices(): readonly PooledDevice[];
  /** The listener hears that `devices()` would say something else now. Many changes at once may call it many times. */
  watch(listener: () => void): Unsubscribe;
  /**
   * Pure. `size` of `available`, `mustInclude` among them. Never called with fewer than `size` available, with a unit that
   * must be included and is not available, or with a unit that is unhealthy.
   */
  prefer(available: readonly DeviceId[], mustInclude: readonly DeviceId[], size: number): readonly DeviceId[];
  /**
   * Has no lasting effect that a second call with the same ids would not have: the kubelet never says that it has given
   * units back, and one request may ask for several containers of which a later one is refused. Throws NabuError for ids
   * that it does not have or that are unhealthy.
   */
  allocate(ids: readonly DeviceId[], deadline: Deadline): ContainerGrant | Promise<ContainerGrant>;
  /** PreStartContainer: the last look before the container starts. Throws NabuError when it must not start. */
  prepare?(ids: readonly DeviceId[], deadline: Deadline): Promise<void>;
};
