import type { SimClock } from '../../common/ports/index.ts';

const STEP_MS = 2;

/** Moves simulated time until the work settles. Throws when that takes longer than `limitMs` of simulated time. */
export async function runUntil<T>(clock: SimClock, work: Promise<T>, limitMs: number): Promise<T> {
  let settled = false;
  const done = (): void => {
    settled = true;
  };
  work.then(done, done);
  for (let passedMs = 0; !settled; passedMs += STEP_MS) {
    if (passedMs > limitMs) throw new RangeError(`the simulation did not end within ${limitMs} simulated ms`);
    await clock.advance(STEP_MS);
  }
  return await work;
}
