import { type Stamp, stampOfMs } from '../blob/index.ts';

/** The clocks of hosts and nodes differ by less than this, or an emptied node may not be believed. */
const CLOCK_MARGIN_MS = 60_000;

/**
 * What to ask with for something that was stamped `since` or later by a host. A node says `absent` when its store is complete since the
 * stamp that is asked for, by its own clock: one that was emptied after that may look older to a host whose clock is ahead.
 */
export function askStampFor(since: Stamp): Stamp {
  const margin = stampOfMs(CLOCK_MARGIN_MS);
  return since > margin ? since - margin : 0n;
}
