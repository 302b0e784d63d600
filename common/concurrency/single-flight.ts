import { raceAbort } from './abort.ts';

/** While work for a key is in flight, further calls for that key share its result or error. Nothing is kept afterwards. */
export class SingleFlight<K, T> {
  readonly #inFlight = new Map<K, Promise<T>>();

  get size(): number {
    return this.#inFlight.size;
  }

  /** The signal lets this caller leave; the work goes on for the others. */
  run(key: K, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    let flight = this.#inFlight.get(key);
    if (flight === undefined) {
      const forget = (): void => {
        this.#inFlight.delete(key);
      };
      flight = (async () => work())();
      this.#inFlight.set(key, flight);
      flight.then(forget, forget);
    }
    return raceAbort(flight, signal, String(key));
  }
}
