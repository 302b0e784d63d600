import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';

/** Asks an extender whether it would answer. Rejects, saying why not. */
export type Probe = (signal: AbortSignal) => Promise<void>;

/** The longest that a scheduler may be told to wait for an answer (`httpTimeout`; 100 ms as shipped): one slow probe is no hang. */
const PROBE_TIMEOUT_MS = 500;
const PERIOD_MS = 500;
/** A gate that is open on old news is no gate. */
const FRESH_MS = 2000;
/** One may have been late for a reason that is over. */
const HANGING_PROBES = 2;

/** Takes it away from those who ask it, so that they are refused at once instead of waiting; whether that is done. */
export type Breaker = () => Promise<boolean>;

/**
 * Whether an extender answers now, by asking it again and again. Where one that did begins to hang, the breaker is called, once: a
 * scheduler that is refused loses nothing, one that waits for a timeout with each pod loses everything.
 */
export class ExtenderHealth {
  readonly #probe: Probe;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #breaker: Breaker;
  readonly #stopping = new AbortController();
  #timer: Timer | undefined;
  #asking: Promise<void> = Promise.resolve();
  #goodUntilMs = Number.NEGATIVE_INFINITY;
  #trouble = 'it has not been asked yet';
  #lateProbes = 0;
  /** It has answered since. */
  #mayBreak = false;

  constructor(probe: Probe, clock: Clock, logger: Logger, breaker: Breaker = async () => true) {
    this.#probe = probe;
    this.#clock = clock;
    this.#logger = logger;
    this.#breaker = breaker;
  }

  start(): void {
    this.#asking = this.#ask();
  }

  /** Why it is not taken to answer, or undefined. */
  unhealthy(): string | undefined {
    if (this.#clock.monotonicMs() < this.#goodUntilMs) return undefined;
    return `no extender answers: ${this.#trouble}`;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#timer?.cancel();
    await this.#asking;
  }

  async #ask(): Promise<void> {
    const late = new AbortController();
    const timer = this.#clock.setTimer(() => late.abort(), PROBE_TIMEOUT_MS);
    try {
      await this.#probe(AbortSignal.any([this.#stopping.signal, late.signal]));
      if (this.#goodUntilMs === Number.NEGATIVE_INFINITY) this.#logger.info('an extender answers');
      this.#goodUntilMs = this.#clock.monotonicMs() + FRESH_MS;
      this.#lateProbes = 0;
      this.#mayBreak = true;
    } catch (err) {
      this.#trouble = late.signal.aborted
        ? `not within ${PROBE_TIMEOUT_MS} ms`
        : err instanceof Error
          ? err.message
          : String(err);
      this.#goodUntilMs = Number.NEGATIVE_INFINITY;
      this.#lateProbes = late.signal.aborted ? this.#lateProbes + 1 : 0;
    } finally {
      timer.cancel();
    }
    if (this.#stopping.signal.aborted) return;
    if (this.#mayBreak && this.#lateProbes >= HANGING_PROBES) await this.#break();
    if (this.#stopping.signal.aborted) return;
    this.#timer = this.#clock.setTimer(() => this.start(), PERIOD_MS);
  }

  async #break(): Promise<void> {
    try {
      this.#mayBreak = !(await this.#breaker());
    } catch (error) {
      this.#logger.warn('an extender that hangs cannot be taken from its Service yet', { error });
    }
  }
}
