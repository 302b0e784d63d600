import type { Inventory } from '../discovery/index.ts';
import type { Unsubscribe } from '../kubelet/index.ts';

/** A machine as it is now. */
export type MachineWatch = {
  /** The last known state, replaced by a new object when, and only when, it says something else. */
  readonly inventory: Inventory;
  /** The listener hears after `inventory` has been replaced. */
  watch(listener: () => void): Unsubscribe;
};
