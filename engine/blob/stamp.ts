import { NabuError } from '../../common/errors/index.ts';
import type { Clock } from '../../common/ports/index.ts';

/** Unix milliseconds << 16 | counter, as one unsigned 64-bit number: comparable across the cluster. */
export type Stamp = bigint;

const COUNTER_BITS = 16n;
const U64_MAX = (1n << 64n) - 1n;
/** A stamp further ahead of our clock than this is not merged: one machine with a wild clock must not drag all others along. */
const MAX_AHEAD_MS = 3_600_000;

export function stampOfMs(unixMs: number): Stamp {
  return BigInt(Math.max(0, Math.floor(unixMs))) << COUNTER_BITS;
}

export function msOfStamp(stamp: Stamp): number {
  return Number(stamp >> COUNTER_BITS);
}

/**
 * Hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014) folded into 64 bits: every stamp is greater than
 * all that this process gave out or saw, and stays near wall time however the wall clock jumps.
 */
export class StampClock {
  readonly #clock: Clock;
  #last: Stamp = 0n;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  next(): Stamp {
    const wall = stampOfMs(this.#clock.nowMs());
    this.#last = wall > this.#last ? wall : this.#last + 1n;
    return this.#last;
  }

  /** Later stamps will be greater than `seen`. Throws OUT_OF_RANGE for one more than an hour ahead of our clock. */
  merge(seen: Stamp): void {
    if (seen <= this.#last) return;
    if (seen > U64_MAX || msOfStamp(seen) > this.#clock.nowMs() + MAX_AHEAD_MS) {
      throw NabuError.of('OUT_OF_RANGE', {
        field: 'stamp',
        reason: `${seen} lies more than an hour ahead of this clock`,
      });
    }
    this.#last = seen;
  }
}
