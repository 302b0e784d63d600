// Loaded before a program under test (--import): at each SIGUSR2 its wall clock jumps, an hour forward, then two back, then to where it was.
// As with a real jump, monotonic time and timers go on as they were.
import { join } from 'node:path';

/** Flags of node. */
export const JUMPING_CLOCK = ['--import', join(import.meta.dirname, 'jumping-clock.ts')] as const;

const HOUR_MS = 3_600_000;
const OFFSETS_MS = [0, HOUR_MS, -HOUR_MS] as const;
const RealDate = Date;
let jumps = 0;

class JumpingDate extends RealDate {
  constructor(...given: unknown[]) {
    if (given.length === 0) super(JumpingDate.now());
    else super(...(given as [string]));
  }

  static override now(): number {
    return RealDate.now() + (OFFSETS_MS[jumps % OFFSETS_MS.length] ?? 0);
  }
}

if (process.execArgv.some((flag) => flag.endsWith('jumping-clock.ts'))) {
  globalThis.Date = JumpingDate as DateConstructor;
  process.on('SIGUSR2', () => jumps++);
}
