import { abortError } from '../../common/concurrency/index.ts';
import type { Clock } from '../../common/ports/index.ts';

/** A flag that one waiter sleeps on: raised at any time, seen at the next wait. */
export class Wake {
  #raised = false;
  #resolve: (() => void) | undefined;

  raise(): void {
    this.#raised = true;
    this.#resolve?.();
  }

  /** Until raised, the timeout (when given) or the signal, which rejects with its reason. */
  async wait(clock: Clock, signal: AbortSignal, operation: string, timeoutMs?: number): Promise<void> {
    if (signal.aborted) throw abortError(signal, operation);
    if (!this.#raised) await this.#sleep(clock, signal, operation, timeoutMs);
    this.#raised = false;
  }

  #sleep(clock: Clock, signal: AbortSignal, operation: string, timeoutMs: number | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        timer?.cancel();
        signal.removeEventListener('abort', onAbort);
        this.#resolve = undefined;
      };
      const onAbort = (): void => {
        leave();
        reject(abortError(signal, operation));
      };
      this.#resolve = () => {
        leave();
        resolve();
      };
      const timer = timeoutMs === undefined ? undefined : clock.setTimer(() => this.#resolve?.(), timeoutMs);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}
