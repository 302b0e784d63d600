import { NabuError } from '../errors/index.ts';

/** The signal's reason as an error to throw: a NabuError passes, anything else is a cancellation by the caller. */
export function abortError(signal: AbortSignal, operation: string): NabuError {
  return NabuError.is(signal.reason)
    ? signal.reason
    : NabuError.of('CANCELLED', { operation }, { cause: signal.reason });
}

/** Waits for the promise or the signal, whichever comes first. The promise itself runs on; its late rejection is dropped. */
export function raceAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined, operation: string): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(abortError(signal, operation));
    if (signal.aborted) {
      promise.catch(() => undefined);
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    const leave = (): void => signal.removeEventListener('abort', onAbort);
    promise.then(resolve, reject).finally(leave);
  });
}
