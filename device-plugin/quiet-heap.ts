import type { Clock, Timer } from '../common/ports/index.ts';

/** How long nothing was asked for until what the asking left behind is given back. */
const QUIET_MS = 10_000;

/**
 * A heap that shrinks when nobody needs it. Loading a program, or a burst of calls, leaves a young generation of three times
 * 16 MiB, which V8 keeps though nobody asks again; a smaller one would be collected once in fourteen Allocate calls, where
 * the p99 of their latency sees it. Does nothing without --expose-gc. docs/decisions/idle-memory.md
 */
export class QuietHeap {
  readonly #clock: Clock;
  readonly #collect: (() => void) | undefined;
  #usedAtMs = 0;
  #timer: Timer | undefined;

  constructor(clock: Clock, collect: (() => void) | undefined = collector()) {
    this.#clock = clock;
    this.#collect = collect;
  }

  /** Something was asked for. Costs a reading of the clock. */
  used(): void {
    this.#usedAtMs = this.#clock.monotonicMs();
    if (this.#timer === undefined && this.#collect !== undefined) this.#wait(QUIET_MS);
  }

  #wait(delayMs: number): void {
    this.#timer = this.#clock.setTimer(() => this.#onTime(), delayMs, { background: true });
  }

  /** A collection takes tens of milliseconds: never while calls come. */
  #onTime(): void {
    this.#timer = undefined;
    const quietMs = this.#clock.monotonicMs() - this.#usedAtMs;
    if (quietMs < QUIET_MS) this.#wait(QUIET_MS - quietMs);
    else this.#collect?.();
  }
}

/** All garbage, and all memory that V8 keeps for later. */
function collector(): (() => void) | undefined {
  const { gc } = globalThis;
  return gc === undefined ? undefined : () => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}
