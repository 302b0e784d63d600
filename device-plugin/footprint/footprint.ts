import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import { giveBack } from './native.ts';

export type FootprintOptions = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly giveBack?: () => number;
};

/** Registered and quiet on any machine, and its garbage collected (ProcessMemory). */
const AFTER_START_MS = 15_000;
/** A reload, or a claim, runs code that is not run again for days. */
const EVERY_MS = 3_600_000;

/**
 * Keeps what a node pays for this process near what the process needs: soon after the start, and every hour, it lets go of
 * the code that has not to be in memory. docs/decisions/idle-memory.md
 */
export class Footprint {
  readonly #options: FootprintOptions;
  #timer: Timer | undefined;

  constructor(options: FootprintOptions) {
    this.#options = options;
  }

  start(): void {
    this.#after(AFTER_START_MS);
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #after(delayMs: number): void {
    this.#timer = this.#options.clock.setTimer(() => this.#giveBack(), delayMs, { background: true });
  }

  /** Once it cannot be done it is not tried again: the process works as well, and is larger. */
  #giveBack(): void {
    const { logger } = this.#options;
    try {
      const bytes = (this.#options.giveBack ?? giveBack)();
      logger.debug('gave memory back', { bytes });
      this.#after(EVERY_MS);
    } catch (err) {
      if (!NabuError.is(err)) throw err;
      logger.warn('memory of the start is kept', { reason: err.message });
    }
  }
}
