import { type Clock, sleepOn, type Timer } from './clock.ts';

type Pending = { readonly dueMs: number; readonly order: number; readonly callback: () => void; live: boolean };

/** Lets every promise job and every immediate that is queued now run. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A clock that moves only when told to. Timers fire in the order of their due time, equal ones in the order they were set. */
export class SimClock implements Clock {
  readonly #startWallMs: number;
  #elapsedMs = 0;
  #order = 0;
  #heap: Pending[] = [];
  #live = 0;

  constructor(startWallMs = 1_700_000_000_000) {
    this.#startWallMs = startWallMs;
  }

  nowMs(): number {
    return this.#startWallMs + this.#elapsedMs;
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  get pendingTimers(): number {
    return this.#live;
  }

  setTimer(callback: () => void, delayMs: number): Timer {
    const pending = { dueMs: this.#elapsedMs + Math.max(0, delayMs), order: this.#order++, callback, live: true };
    this.#live++;
    this.#push(pending);
    return { cancel: () => this.#retire(pending) };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  /** Moves time forward, firing what falls due and letting promises settle after each timer. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#elapsedMs + byMs;
    await settle();
    for (let next = this.#next(); next !== undefined && next.dueMs <= untilMs; next = this.#next()) {
      await this.#fire(next);
    }
    this.#elapsedMs = untilMs;
    await settle();
  }

  /** Fires timers until none is pending. Throws when `limit` firings did not get there: something re-arms for ever. */
  async runUntilIdle(limit = 1_000_000): Promise<void> {
    await settle();
    for (let fired = 0; ; fired++) {
      const next = this.#next();
      if (next === undefined) return;
      if (fired >= limit) throw new RangeError(`SimClock: ${limit} timers fired and more are pending`);
      await this.#fire(next);
    }
  }

  async #fire(next: Pending): Promise<void> {
    this.#pop();
    this.#retire(next);
    this.#elapsedMs = Math.max(this.#elapsedMs, next.dueMs);
    next.callback();
    await settle();
  }

  #retire(pending: Pending): void {
    if (pending.live) this.#live--;
    pending.live = false;
  }

  /** The earliest live timer, dropping cancelled ones on the way. */
  #next(): Pending | undefined {
    for (let top = this.#heap[0]; top !== undefined; top = this.#heap[0]) {
      if (top.live) return top;
      this.#pop();
    }
    return undefined;
  }

  #push(pending: Pending): void {
    const heap = this.#heap;
    let at = heap.push(pending) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || !before(pending, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = pending;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      const left = heap[down];
      if (left === undefined) break;
      const right = heap[down + 1];
      let child = left;
      if (right !== undefined && before(right, left)) {
        child = right;
        down++;
      }
      if (!before(child, last)) break;
      heap[at] = child;
      at = down;
    }
    heap[at] = last;
  }
}

function before(a: Pending, b: Pending): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}
