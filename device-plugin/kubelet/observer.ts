import type { ResourceName } from './resource-name.ts';

export type CallOutcome = 'ok' | 'refused';

/** Told of what passes between one resource and the kubelet, for figures. Must not throw, and returns at once. */
export type KubeletObserver = {
  /** An Allocate call has been answered. */
  allocated(resource: ResourceName, latencyMs: number, outcome: CallOutcome): void;
  /** The kubelet holds the list after a registration, or did not come to that, for a cause that it had not before. */
  registered(resource: ResourceName, outcome: CallOutcome): void;
};

export const NO_OBSERVER: KubeletObserver = { allocated: () => undefined, registered: () => undefined };
