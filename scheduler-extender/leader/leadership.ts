import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { LeaderLease } from './leader-lease.ts';

export type LeadershipOptions = {
  /** Resolves when what is known is of after a moment: what a leader before us has let happen. */
  readonly catchUp: (notBeforeMs: number) => Promise<void>;
  /** How long pods that the leader before us let pass may need until the API shows them. */
  readonly graceMs: number;
  /** From now on it is this one that answers; once for each election. */
  readonly onAnswering?: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
};

const RETRY_MS = 500;

/**
 * Who is elected answers only when it knows what its predecessor's answers came to: after a moment for them to be written, and a look
 * at everything that is there then.
 */
export class Leadership {
  readonly #options: LeadershipOptions;
  #lease: LeaderLease | undefined;
  #caughtUp = false;
  /** Each election ends the catching up of the one before. */
  #term = 0;

  constructor(options: LeadershipOptions) {
    this.#options = options;
  }

  /** Without a Lease there is no other, but there may have been one before. */
  lead(lease?: LeaderLease): void {
    this.#lease = lease;
    if (lease === undefined) this.elected();
    else lease.start();
  }

  elected(): void {
    this.#caughtUp = false;
    this.#term++;
    this.#options.clock.setTimer(
      () => void this.#catchUp(this.#term, this.#options.clock.monotonicMs()),
      this.#options.graceMs,
      { background: true },
    );
  }

  /** Why this one must not answer, or undefined. */
  refuses(): string | undefined {
    if (this.#lease?.isHeld === false) {
      const { holder } = this.#lease;
      return holder === '' ? 'nobody is elected yet' : `another one answers, ${holder}`;
    }
    return this.#caughtUp ? undefined : 'it was elected just now and finds out what has been decided before';
  }

  async stop(): Promise<void> {
    this.#term++;
    this.#caughtUp = false;
    await this.#lease?.stop();
  }

  async #catchUp(term: number, notBeforeMs: number): Promise<void> {
    if (term !== this.#term) return;
    const { catchUp, onAnswering, clock, logger } = this.#options;
    try {
      await catchUp(notBeforeMs);
      if (term !== this.#term) return;
      this.#caughtUp = true;
      onAnswering?.();
    } catch (error) {
      logger.warn('what was decided before cannot be found out yet', { error });
      if (term === this.#term)
        clock.setTimer(() => void this.#catchUp(term, notBeforeMs), RETRY_MS, { background: true });
    }
  }
}
