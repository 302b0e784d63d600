const SAMPLES = 128;
const REFRESH_EVERY = 16;
const CLASSES = 16;
/** Before anything was measured. */
const FIRST_GUESS_MS = 50;
/** Below this a timer would fire on every hiccup of the event loop and double the load for nothing. */
const LEAST_MS = 2;
const MOST_MS = 1000;
/** Later than this many times the usual, a read is helped whatever the budget says. */
const VERY_LATE = 8;
const VERY_LATE_LEAST_MS = 50;
/** Of each hundred reads five are late by definition; when everything is slow, helping all of them would make it slower. */
const HEDGES_PER_READ = 0.05;
const MOST_HEDGES_SAVED = 10;

class SizeClass {
  readonly #samples = new Float64Array(SAMPLES);
  #count = 0;
  #p95Ms = FIRST_GUESS_MS;

  get p95Ms(): number {
    return this.#p95Ms;
  }

  add(latencyMs: number): void {
    this.#samples[this.#count++ % SAMPLES] = latencyMs;
    if (this.#count % REFRESH_EVERY !== 0) return;
    const sorted = this.#samples.slice(0, Math.min(this.#count, SAMPLES)).sort();
    this.#p95Ms = sorted[Math.floor(sorted.length * 0.95)] ?? FIRST_GUESS_MS;
  }
}

/** When a read is late: the 95th percentile of recent reads of about the same size ("The Tail at Scale", Dean and Barroso 2013). */
export class ReadLatency {
  #budget = MOST_HEDGES_SAVED / 2;
  readonly #classes = Array.from({ length: CLASSES }, () => new SizeClass());

  add(lengthBytes: number, latencyMs: number): void {
    this.#of(lengthBytes).add(latencyMs);
  }

  hedgeAfterMs(lengthBytes: number): number {
    return Math.min(MOST_MS, Math.max(LEAST_MS, this.#of(lengthBytes).p95Ms));
  }

  /** When to help a read for which there was no budget. */
  hedgeAnywayAfterMs(lengthBytes: number): number {
    return Math.min(MOST_MS, Math.max(VERY_LATE_LEAST_MS, VERY_LATE * this.#of(lengthBytes).p95Ms));
  }

  /** Each read earns a part of a hedge. */
  earn(): void {
    this.#budget = Math.min(MOST_HEDGES_SAVED, this.#budget + HEDGES_PER_READ);
  }

  trySpend(): boolean {
    if (this.#budget < 1) return false;
    this.#budget--;
    return true;
  }

  #of(lengthBytes: number): SizeClass {
    const at = Math.min(CLASSES - 1, Math.max(0, 31 - Math.clz32(lengthBytes >>> 12)));
    const found = this.#classes[at];
    if (found === undefined) throw new RangeError(`no size class ${at}`);
    return found;
  }
}
