import type { ResourceName } from '../kubelet/index.ts';
import type { MachinePool } from '../resources/index.ts';
import type { ConfiguredKind } from './kinds.ts';

/** Where resources are offered: to the kubelet as extended resources, or to the scheduler for claims. */
export type Front = {
  /** A resource that is new here, or is made otherwise than before; the pool of one resource stays the same. */
  offer(pool: MachinePool, configured: ConfiguredKind): void;
  /** Resolves when it is not offered any more; at once when it was not. */
  withdraw(resource: ResourceName): Promise<void>;
};
