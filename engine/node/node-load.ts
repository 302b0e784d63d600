import { performance } from 'node:perf_hooks';
import type { Slab } from '../slab/index.ts';

/** How much of the last period counts: a short burst is no load. */
const FRESH_WEIGHT = 0.5;

/** Share of the time, since it was last asked, in which the event loop had something to do: 0 to 1. */
export function loopUtilization(): () => number {
  let last = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, last);
    last = now;
    return utilization;
  };
}

/**
 * How busy a stor-node is, 0 to 1: one thread does all its requests and its device's ring, so what that thread does not rest is
 * what is taken; so is memory for requests in flight.
 */
export class NodeLoad {
  readonly #busy: () => number;
  readonly #slab: Pick<Slab, 'sizeBytes' | 'freeBytes' | 'waiting'>;
  #load = 0;

  constructor(slab: Pick<Slab, 'sizeBytes' | 'freeBytes' | 'waiting'>, busy: () => number = loopUtilization()) {
    this.#slab = slab;
    this.#busy = busy;
  }

  /** Of the period since it was last asked, smoothed. */
  next(): number {
    const { sizeBytes, freeBytes, waiting } = this.#slab;
    const memory = waiting > 0 ? 1 : 1 - freeBytes / sizeBytes;
    const now = Math.min(1, Math.max(0, this.#busy(), memory));
    this.#load += FRESH_WEIGHT * (now - this.#load);
    return this.#load;
  }
}
