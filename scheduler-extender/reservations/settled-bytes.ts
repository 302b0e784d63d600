import type { Clock } from '../../common/ports/index.ts';

/** A published capacity that arrives so soon after a volume may have been measured before it. */
const SAME_MOMENT_MS = 1000;

type Step = { readonly atMs: number; readonly totalBytes: number };

/**
 * Volumes that are there and that published capacities may not show yet. One running total of all that was made, and for each object
 * that publishes a capacity how much of the total it shows: as much as its figure has fallen by, and whatever is older than a moment
 * when it was published, or older than the longest that publishing takes.
 *
 * A figure may fall by a volume before we hear that it is there: it then shows more than the total, by at most what is on its way.
 */
export class SettledBytes {
  readonly #clock: Clock;
  readonly #settlingMs: number;
  /** The total after each volume that is not older than settling takes, oldest first. */
  readonly #steps: Step[] = [];
  /** The total before the first step. */
  #oldBytes = 0;
  #totalBytes = 0;
  readonly #shownBy = new Map<string, number>();
  /** The total of what was old when it was last asked whether anything has become so. */
  #agedBytes = 0;

  constructor(clock: Clock, settlingMs: number) {
    this.#clock = clock;
    this.#settlingMs = settlingMs;
  }

  /** Volumes that may be shown by nothing yet. */
  get count(): number {
    this.#forgetOld();
    return this.#steps.length;
  }

  add(rawBytes: number): void {
    if (rawBytes === 0) return;
    this.#totalBytes += rawBytes;
    this.#steps.push({ atMs: this.#clock.monotonicMs(), totalBytes: this.#totalBytes });
  }

  /**
   * The object was published anew, by so many raw bytes lower than before (below 0: higher, as what is there for the first time is), while
   * so many bytes of volumes were being made.
   */
  published(key: string, fallenBytes: number, onTheirWayBytes: number): void {
    const surely = this.#totalBefore(this.#clock.monotonicMs() - SAME_MOMENT_MS);
    const shown = (this.#shownBy.get(key) ?? 0) + Math.max(0, fallenBytes);
    this.#shownBy.set(key, Math.min(this.#totalBytes + onTheirWayBytes, Math.max(shown, surely)));
  }

  /** A volume that was on its way is not made after all: what was seen of it was something else. */
  notMade(onTheirWayBytes: number): void {
    for (const [key, shown] of this.#shownBy) {
      this.#shownBy.set(key, Math.min(shown, this.#totalBytes + onTheirWayBytes));
    }
  }

  withdrawn(key: string): void {
    this.#shownBy.delete(key);
  }

  /** What the object's figure may not show; below 0 where it shows some of what is on its way. */
  unshownBytes(key: string, onTheirWayBytes: number): number {
    this.#forgetOld();
    const shown = Math.max(this.#shownBy.get(key) ?? 0, this.#oldBytes);
    return this.#totalBytes - Math.min(shown, this.#totalBytes + onTheirWayBytes);
  }

  /**
   * Whether there is more room only because time has passed: since the last call something has become old that a published figure does
   * not show, or that nothing published ever will.
   */
  hasAged(): boolean {
    this.#forgetOld();
    if (this.#agedBytes === this.#oldBytes) return false;
    this.#agedBytes = this.#oldBytes;
    return this.#shownBy.size === 0 || [...this.#shownBy.values()].some((shown) => shown < this.#oldBytes);
  }

  #forgetOld(): void {
    const beforeMs = this.#clock.monotonicMs() - this.#settlingMs;
    for (let first = this.#steps[0]; first !== undefined && first.atMs <= beforeMs; first = this.#steps[0]) {
      this.#oldBytes = first.totalBytes;
      this.#steps.shift();
    }
  }

  #totalBefore(ms: number): number {
    let total = this.#oldBytes;
    for (const { atMs, totalBytes } of this.#steps) {
      if (atMs > ms) break;
      total = totalBytes;
    }
    return total;
  }
}
