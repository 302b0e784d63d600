import { Deadline, KeyedMutex, raceAbort, SingleFlight } from '../common/concurrency/index.ts';
import type { Clock } from '../common/ports/index.ts';

export type FlightsOptions = {
  /** Names the queue in errors. */
  readonly name: string;
  readonly clock: Clock;
  /** The longest that one piece of work may take. */
  readonly workTimeoutMs: number;
  /** How many different requests may wait for one key; one more is refused with QUEUE_FULL. */
  readonly maxWaiters: number;
};

/** Equal requests give equal text, whatever the order of their fields. */
function fingerprint(value: unknown): string {
  return JSON.stringify(value, (_, field: unknown) => {
    if (typeof field === 'bigint') return `${field}n`;
    if (field === null || typeof field !== 'object' || Array.isArray(field)) return field;
    return Object.fromEntries(Object.entries(field).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/**
 * Work on one id is done one piece after another, and equal requests in flight share one piece. Work belongs to the plugin, not
 * to its caller: a caller that goes away or times out leaves it running to its end, and a retry joins it.
 */
export class Flights {
  readonly #options: FlightsOptions;
  readonly #locks: KeyedMutex<string>;
  readonly #shared = new SingleFlight<string, unknown>();

  constructor(options: FlightsOptions) {
    this.#options = options;
    this.#locks = new KeyedMutex({ name: options.name, maxWaiters: options.maxWaiters });
  }

  /** The result of `work`, or an error as soon as the caller's signal aborts. */
  async run<T>(
    call: { readonly operation: string; readonly key: string; readonly request: unknown; readonly signal: AbortSignal },
    work: (deadline: Deadline) => Promise<T>,
  ): Promise<T> {
    const identity = `${call.operation}\0${call.key}\0${fingerprint(call.request)}`;
    const flight = this.#shared.run(identity, () => this.exclusive(call.operation, call.key, work));
    return (await raceAbort(flight, call.signal, call.operation)) as T;
  }

  /** Work of the plugin's own. */
  async exclusive<T>(operation: string, key: string, work: (deadline: Deadline) => Promise<T>): Promise<T> {
    using deadline = new Deadline({ clock: this.#options.clock, operation, timeoutMs: this.#options.workTimeoutMs });
    return await this.#locks.run(key, () => work(deadline), deadline.signal);
  }
}
