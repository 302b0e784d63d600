import type { Clock } from '../../common/ports/index.ts';

/** So many at once, and so many a second after that. */
export class TokenBucket {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #perMs: number;
  readonly #most: number;
  #tokens: number;
  #atMs: number;

  constructor(clock: Pick<Clock, 'monotonicMs'>, perSecond: number, most: number) {
    this.#clock = clock;
    this.#perMs = perSecond / 1000;
    this.#most = most;
    this.#tokens = most;
    this.#atMs = clock.monotonicMs();
  }

  /** Takes one, where there is one. */
  take(): boolean {
    this.#fill();
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  /** Until there is one; 0 where there is. */
  waitMs(): number {
    this.#fill();
    // Upwards: a timer that comes too early by a fraction would find nothing.
    return this.#tokens >= 1 ? 0 : Math.ceil((1 - this.#tokens) / this.#perMs);
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(this.#most, this.#tokens + (nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
  }
}
