import { abortError, type DeadlineWatcher } from '../../common/concurrency/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { CallDeadline } from '../transport/index.ts';

/** What ends a wait. */
export type Until = { readonly deadline: CallDeadline; readonly signal?: AbortSignal | undefined };

/** Why the wait is over, if it is. */
function endOf({ deadline, signal }: Until, operation: string): Error | undefined {
  if (signal?.aborted === true) return abortError(signal, operation);
  return deadline.expired ? (deadline.reason ?? abortError(deadline.signal, operation)) : undefined;
}

/** A flag that one waiter sleeps on: raised at any time, seen at the next wait. */
export class Wake {
  #raised = false;
  #resolve: (() => void) | undefined;

  raise(): void {
    this.#raised = true;
    this.#resolve?.();
  }

  /** Until raised, the pause (when given) is over, or what `until` names, whose reason is thrown. */
  async wait(
    until: Until,
    operation: string,
    pause?: { readonly clock: Clock; readonly timeoutMs: number },
  ): Promise<void> {
    const ended = endOf(until, operation);
    if (ended !== undefined) throw ended;
    if (!this.#raised) await this.#sleep(until, operation, pause);
    this.#raised = false;
  }

  #sleep(
    until: Until,
    operation: string,
    pause: { readonly clock: Clock; readonly timeoutMs: number } | undefined,
  ): Promise<void> {
    const { deadline, signal } = until;
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        timer?.cancel();
        deadline.unwatch(watcher);
        signal?.removeEventListener('abort', onEnd);
        this.#resolve = undefined;
      };
      const onEnd = (): void => {
        leave();
        reject(endOf(until, operation) ?? abortError(deadline.signal, operation));
      };
      const watcher: DeadlineWatcher = { deadlineEnded: onEnd };
      this.#resolve = () => {
        leave();
        resolve();
      };
      const timer = pause?.clock.setTimer(() => this.#resolve?.(), pause.timeoutMs);
      deadline.watch(watcher);
      signal?.addEventListener('abort', onEnd, { once: true });
    });
  }
}
