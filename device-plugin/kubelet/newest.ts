/** A value of which everybody who follows it sees the newest: what they were too slow for is never kept for them. */
export class Newest<T> {
  #value: T;
  readonly #waiting = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  /** How many wait for a change: those that have seen the newest. */
  get waiting(): number {
    return this.#waiting.size;
  }

  set(value: T): void {
    this.#value = value;
    for (const wake of [...this.#waiting]) wake();
  }

  /** The value now, then the newest after each change that the reader was there for. Ends when the signal aborts. */
  async *follow(signal: AbortSignal): AsyncGenerator<T, void, undefined> {
    while (!signal.aborted) {
      const value = this.#value;
      yield value;
      if (value === this.#value) await this.#change(signal);
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      if (signal.aborted) {
        resolve();
        return;
      }
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }
}
