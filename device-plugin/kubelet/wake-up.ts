import type { Clock } from '../../common/ports/index.ts';

/** A pause that can be cut short. A call that comes while nobody waits is not lost: the next wait returns at once. */
export class WakeUp {
  readonly #clock: Clock;
  #isCalled = false;
  #resume: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  call(): void {
    this.#isCalled = true;
    this.#resume?.();
  }

  /** Returns when called, after `timeoutMs` (Infinity: never), or when the signal aborts. For one waiter at a time. */
  async wait(timeoutMs: number, signal: AbortSignal): Promise<void> {
    if (!this.#isCalled && !signal.aborted) await this.#pause(timeoutMs, signal);
    this.#isCalled = false;
  }

  #pause(timeoutMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const resume = (): void => {
        timer?.cancel();
        signal.removeEventListener('abort', resume);
        this.#resume = undefined;
        resolve();
      };
      const timer = Number.isFinite(timeoutMs) ? this.#clock.setTimer(resume, timeoutMs) : undefined;
      signal.addEventListener('abort', resume, { once: true });
      this.#resume = resume;
    });
  }
}
