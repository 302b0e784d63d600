import { opName } from '../protocol/index.ts';

type OpCounter = { count: number; errors: number; totalMs: number; maxMs: number };

/** How often each operation ran, failed, and how long it took. */
export class OpCounters {
  readonly #byOp = new Map<number, OpCounter>();

  add(op: number, tookMs: number, failed: boolean): void {
    let counter = this.#byOp.get(op);
    if (counter === undefined) {
      counter = { count: 0, errors: 0, totalMs: 0, maxMs: 0 };
      this.#byOp.set(op, counter);
    }
    counter.count++;
    if (failed) counter.errors++;
    counter.totalMs += tookMs;
    if (tookMs > counter.maxMs) counter.maxMs = tookMs;
  }

  /** By the operation's name; times in milliseconds. */
  snapshot(): Readonly<Record<string, Readonly<OpCounter>>> {
    return Object.fromEntries([...this.#byOp].map(([op, counter]) => [opName(op), { ...counter }]));
  }
}
