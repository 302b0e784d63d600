import type { Unsubscribe } from '../kubelet/index.ts';

/** Something that the kernel said of itself. */
export type KernelEvent =
  /** A uevent (lib/kobject_uevent.c): a device, driver or module came, went or changed. */
  | { readonly kind: 'device'; readonly action: string; readonly devicePath: string; readonly subsystem: string }
  /** RTM_NEWLINK or RTM_DELLINK (rtnetlink(7)) of a network interface. */
  | { readonly kind: 'link'; readonly action: 'new' | 'removed'; readonly name: string }
  /** More happened than there was room for: anything may have changed. */
  | { readonly kind: 'overflow' }
  /** No more will come. */
  | { readonly kind: 'ended'; readonly reason: string };

/** Where the kernel's events come from, as a port. */
export type KernelEvents = {
  /** The listener gets what arrived at once together, in its order; never while `listen` runs. */
  listen(listener: (events: readonly KernelEvent[]) => void): Unsubscribe;
  close(): void;
};
