import { setFlagsFromString } from 'node:v8';
import type { Clock, Timer } from '../common/ports/index.ts';

/** How long nothing was asked for until what the asking left behind is given back. */
const QUIET_MS = 10_000;
/** What `nabu` turns off for the start. */
const COMPILERS = ['opt', 'maglev', 'sparkplug'] as const;

/**
 * Keeps a daemon small that has nothing to do most of the time. Loading a program leaves a heap of four times its size and
 * machine code of functions that ran once; a burst of calls leaves a young generation of three times 16 MiB, which V8 keeps
 * though nobody asks again. Starting without compilers and collecting once when it is quiet takes a third off the memory
 * of the idle process and nothing from its speed: the compilers are on before the first call.
 */
export class ProcessMemory {
  readonly #clock: Clock;
  #usedAtMs = 0;
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The process has loaded what it needs. */
  started(): void {
    for (const compiler of COMPILERS) {
      if (process.execArgv.includes(`--no-${compiler}`)) setFlagsFromString(`--${compiler}`);
    }
    this.used();
  }

  /** Something was asked for. Costs a reading of the clock. */
  used(): void {
    this.#usedAtMs = this.#clock.monotonicMs();
    if (this.#timer === undefined && globalThis.gc !== undefined) this.#wait(QUIET_MS);
  }

  #wait(delayMs: number): void {
    this.#timer = this.#clock.setTimer(() => this.#onTime(), delayMs, { background: true });
  }

  /** A collection takes tens of milliseconds: never while calls come. */
  #onTime(): void {
    this.#timer = undefined;
    const quietMs = this.#clock.monotonicMs() - this.#usedAtMs;
    if (quietMs < QUIET_MS) this.#wait(QUIET_MS - quietMs);
    else collect();
  }
}

/** All garbage, and all memory that is kept for later. */
function collect(): void {
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}
