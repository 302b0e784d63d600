import { NabuError } from '../../common/errors/index.ts';

type Waiter = (status: number, value: number) => void;

/** Operations that native code has not answered yet, by small numbers that are used again. Bounded. */
export class Pending {
  readonly #limit: number;
  readonly #waiters: (Waiter | undefined)[] = [];
  readonly #free: number[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Throws QUEUE_FULL at the limit. */
  take(): number {
    const token = this.#free.pop() ?? this.#waiters.push(undefined) - 1;
    if (token < this.#limit) return token;
    this.#waiters.pop();
    throw NabuError.of('QUEUE_FULL', { queue: 'the store', limit: this.#limit });
  }

  /** For an operation that was answered at once. */
  giveBack(token: number): void {
    this.#free.push(token);
  }

  wait(token: number, waiter: Waiter): void {
    this.#waiters[token] = waiter;
  }

  settle(token: number, status: number, value: number): void {
    const waiter = this.#waiters[token];
    if (waiter === undefined) return;
    this.#waiters[token] = undefined;
    this.#free.push(token);
    waiter(status, value);
  }
}
