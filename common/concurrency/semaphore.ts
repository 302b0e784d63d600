import { NabuError } from '../errors/index.ts';
import { abortError } from './abort.ts';

export type Release = () => void;

export type SemaphoreOptions = {
  /** Names the queue in errors. */
  readonly name: string;
  readonly permits: number;
  /** How many may wait; one more is refused with QUEUE_FULL. */
  readonly maxWaiters: number;
};

type Waiter = { readonly permits: number; readonly grant: (release: Release) => void };

/**
 * Permits handed out strictly first come, first served: a request for many permits is not overtaken by small ones.
 * Permits may count jobs or bytes.
 */
export class Semaphore {
  readonly #name: string;
  readonly #total: number;
  readonly #maxWaiters: number;
  #free: number;
  /** In order of arrival; a Set gives both FIFO and O(1) withdrawal. */
  readonly #waiters = new Set<Waiter>();

  constructor({ name, permits, maxWaiters }: SemaphoreOptions) {
    this.#name = name;
    this.#total = permits;
    this.#maxWaiters = maxWaiters;
    this.#free = permits;
  }

  get free(): number {
    return this.#free;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** The permits when they are free now and nobody waits, else undefined. */
  tryAcquire(permits = 1): Release | undefined {
    this.#check(permits);
    return this.#waiters.size === 0 && permits <= this.#free ? this.#take(permits) : undefined;
  }

  /** Throws QUEUE_FULL when too many wait, CANCELLED or the signal's NabuError when it aborts first. */
  async acquire(permits = 1, signal?: AbortSignal): Promise<Release> {
    if (signal?.aborted) throw abortError(signal, this.#name);
    const immediate = this.tryAcquire(permits);
    if (immediate !== undefined) return immediate;
    if (this.#waiters.size >= this.#maxWaiters) {
      throw NabuError.of('QUEUE_FULL', { queue: this.#name, limit: this.#maxWaiters });
    }
    return await this.#wait(permits, signal);
  }

  async run<T>(
    work: () => Promise<T> | T,
    options: { permits?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<T> {
    const release = await this.acquire(options.permits ?? 1, options.signal);
    try {
      return await work();
    } finally {
      release();
    }
  }

  #wait(permits: number, signal: AbortSignal | undefined): Promise<Release> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters.delete(waiter);
        if (signal !== undefined) reject(abortError(signal, this.#name));
        this.#grantNext(); // what stood behind a large request may fit
      };
      const waiter: Waiter = {
        permits,
        grant: (release) => {
          signal?.removeEventListener('abort', onAbort);
          resolve(release);
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  #take(permits: number): Release {
    this.#free -= permits;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#free += permits;
      this.#grantNext();
    };
  }

  #grantNext(): void {
    for (const waiter of this.#waiters) {
      if (waiter.permits > this.#free) return;
      this.#waiters.delete(waiter);
      waiter.grant(this.#take(waiter.permits));
    }
  }

  #check(permits: number): void {
    if (!Number.isSafeInteger(permits) || permits < 1 || permits > this.#total) {
      throw NabuError.of('INVALID_ARGUMENT', { field: 'permits', reason: `${permits} is not in 1..${this.#total}` });
    }
  }
}
