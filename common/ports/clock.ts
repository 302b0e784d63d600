/** A pending callback. Cancelling one that has fired or was cancelled does nothing. */
export type Timer = { cancel(): void };

/** Time, injected so that a simulator can own it. */
export type Clock = {
  /** Wall time in milliseconds since 1970, may jump; for stamps that people or other machines read. */
  nowMs(): number;
  /** Milliseconds with fractions from an arbitrary start, never goes back; for deadlines and latencies. */
  monotonicMs(): number;
  /** Calls back once after `delayMs`; a running timer keeps the process alive unless `background`. */
  setTimer(callback: () => void, delayMs: number, options?: { readonly background?: boolean }): Timer;
  /** Resolves after `delayMs`; rejects with the signal's reason as soon as the signal aborts. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
};

/** One sleep for every clock, built on its setTimer. */
export function sleepOn(clock: Pick<Clock, 'setTimer'>, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.setTimer(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
