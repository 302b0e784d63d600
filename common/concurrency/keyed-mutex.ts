import { type Release, Semaphore } from './semaphore.ts';

export type KeyedMutexOptions = {
  /** Names the queue in errors. */
  readonly name: string;
  /** How many may wait for one key; one more is refused with QUEUE_FULL. */
  readonly maxWaiters: number;
};

/** One holder per key, waiters in order of arrival. Keys cost nothing while nobody holds them. */
export class KeyedMutex<K> {
  readonly #options: KeyedMutexOptions;
  readonly #held = new Map<K, Semaphore>();

  constructor(options: KeyedMutexOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#held.size;
  }

  isHeld(key: K): boolean {
    return this.#held.has(key);
  }

  /** Throws QUEUE_FULL when too many wait, CANCELLED or the signal's NabuError when it aborts first. */
  async acquire(key: K, signal?: AbortSignal): Promise<Release> {
    let lock = this.#held.get(key);
    if (lock === undefined) {
      lock = new Semaphore({
        name: `${this.#options.name} ${String(key)}`,
        permits: 1,
        maxWaiters: this.#options.maxWaiters,
      });
      this.#held.set(key, lock);
    }
    return this.#releasing(key, lock, await this.#acquireOrForget(key, lock, signal));
  }

  async run<T>(key: K, work: () => Promise<T> | T, signal?: AbortSignal): Promise<T> {
    const release = await this.acquire(key, signal);
    try {
      return await work();
    } finally {
      release();
    }
  }

  async #acquireOrForget(key: K, lock: Semaphore, signal: AbortSignal | undefined): Promise<Release> {
    try {
      return await lock.acquire(1, signal);
    } catch (err) {
      this.#forgetIdle(key, lock);
      throw err;
    }
  }

  #releasing(key: K, lock: Semaphore, release: Release): Release {
    return () => {
      release();
      this.#forgetIdle(key, lock);
    };
  }

  #forgetIdle(key: K, lock: Semaphore): void {
    if (lock.free === 1 && lock.waiting === 0 && this.#held.get(key) === lock) this.#held.delete(key);
  }
}
