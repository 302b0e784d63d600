import { withDeadline } from '../../common/concurrency/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';

/** How much room there is, by signs that cost nothing to read. */
export type Room = {
  /** Grows each time that something which counted as taken no longer does, or that more is published. */
  readonly returns: number;
  /** Raw bytes by control's word beside what is reserved; always the same where control is not read. */
  readonly freeBytes: number;
};

/** What makes schedulers ask again about the pods that were refused. */
export interface WakeCall {
  /** Rejects where the API server cannot be asked, or refuses. */
  wake(signal: AbortSignal): Promise<void>;
}

export type WakeResult = 'done' | 'failed';

export type WakerOptions = {
  readonly call: WakeCall;
  /** Is read inside of requests. */
  readonly room: () => Room;
  /** Lets go of what is reserved no longer, by the clock: nothing else may. */
  readonly lapse: () => void;
  /** Whether this is the one that answers schedulers. */
  readonly isAnswering: () => boolean;
  readonly ended: (result: WakeResult) => void;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** How late it is noticed that room has come back; as long as somebody waits for it, and no longer, it is looked for. */
const LOOK_MS = 1000;
/** All that were refused ask again each time: an extender call each, inside the scheduler's loop. */
const LEAST_INTERVAL_MS = 5000;
const MOST_INTERVAL_MS = 60_000;
const CALL_TIMEOUT_MS = 5000;
/** Less is what sums of fractions differ by. */
const LEAST_BYTES = 1;

/**
 * A scheduler asks again about a pod that we refused when something in the API changes, or after five minutes. What we count as taken is
 * given back without any change there. So: when a pod was refused for want of room, and there is more of it since, the API gets a change.
 */
export class Waker {
  readonly #options: WakerOptions;
  readonly #stopping = new AbortController();
  /** The least that there was when somebody was refused, since schedulers were made to ask again; undefined: nobody was. */
  #least: Room | undefined;
  #isDue = false;
  #failures = 0;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #calling: Promise<void> | undefined;

  constructor(options: WakerOptions) {
    this.#options = options;
  }

  /** A pod was refused for want of room, by what `room` says now. */
  refused(): void {
    const { returns, freeBytes } = this.#options.room();
    if (this.#least === undefined) this.#least = { returns, freeBytes };
    else if (freeBytes < this.#least.freeBytes) this.#least = { returns: this.#least.returns, freeBytes };
    this.#lookLater();
  }

  /** Whoever answered before has refused pods that nobody here knows of. */
  answers(): void {
    this.#isDue = true;
    this.#lookLater();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#timer?.cancel();
    await this.#calling;
  }

  #lookLater(): void {
    if (this.#timer !== undefined || this.#calling !== undefined || this.#stopping.signal.aborted) return;
    this.#timer = this.#options.clock.setTimer(() => this.#look(), LOOK_MS, { background: true });
  }

  #look(): void {
    this.#timer = undefined;
    const { isAnswering, clock } = this.#options;
    if (this.#hasMore()) this.#isDue = true;
    // While nobody answers, those who ask again would be refused for that; who answers next has all asked again.
    if (this.#isDue && isAnswering() && clock.monotonicMs() >= this.#notBeforeMs) {
      this.#calling = this.#call().finally(() => {
        this.#calling = undefined;
        if (this.#isWaitedFor) this.#lookLater();
      });
    } else if (this.#isWaitedFor) this.#lookLater();
  }

  get #isWaitedFor(): boolean {
    return this.#isDue || this.#least !== undefined;
  }

  #hasMore(): boolean {
    if (this.#least === undefined) return false;
    this.#options.lapse();
    const { returns, freeBytes } = this.#options.room();
    return returns > this.#least.returns || freeBytes >= this.#least.freeBytes + LEAST_BYTES;
  }

  async #call(): Promise<void> {
    const { call, clock, logger, ended } = this.#options;
    // Whoever is refused from here on was asked about with what there is now.
    this.#isDue = false;
    this.#least = undefined;
    let intervalMs = LEAST_INTERVAL_MS;
    try {
      await withDeadline(
        { clock, operation: 'waking schedulers', timeoutMs: CALL_TIMEOUT_MS, parent: this.#stopping.signal },
        ({ signal }) => call.wake(signal),
      );
      this.#failures = 0;
      ended('done');
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      this.#isDue = true;
      intervalMs = Math.min(MOST_INTERVAL_MS, LEAST_INTERVAL_MS * 2 ** this.#failures++);
      ended('failed');
      logger.warn('schedulers cannot be made to ask again about refused pods yet', { retryMs: intervalMs, error });
    }
    this.#notBeforeMs = clock.monotonicMs() + intervalMs;
  }
}
