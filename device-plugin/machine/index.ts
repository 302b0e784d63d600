export type { EventSource } from './event-source.ts';
export type { KernelEvent, KernelEvents } from './kernel-events.ts';
export { LiveMachine, type LiveMachineOptions, type LiveMachineState } from './live-machine.ts';
export type { MachineWatch } from './machine-watch.ts';
export type { Probe, Pulse, PulseNews, PulseOptions } from './pulse.ts';
