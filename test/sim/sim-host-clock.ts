import type { Clock } from '../../common/ports/index.ts';

/** The clock of a host whose wall clock is ahead of the others' by this much, or behind. */
export function aheadOf(clock: Clock, aheadMs: number): Clock {
  return {
    nowMs: () => clock.nowMs() + aheadMs,
    monotonicMs: () => clock.monotonicMs(),
    setTimer: (callback, delayMs, options) => clock.setTimer(callback, delayMs, options),
    sleep: (delayMs, signal) => clock.sleep(delayMs, signal),
  };
}
