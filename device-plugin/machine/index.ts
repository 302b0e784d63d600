export type { KernelEvent, KernelEvents } from './kernel-events.ts';
export type { MachineWatch } from './machine-watch.ts';
