import type { Random } from '../../common/ports/index.ts';

export type BackoffOptions = { readonly firstMs: number; readonly mostMs: number };

/** Pauses between attempts: each twice the last up to a bound, then shortened by up to a half so that many do not march in step. */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: Random;
  #nextMs: number;

  constructor(options: BackoffOptions, random: Random) {
    this.#options = options;
    this.#random = random;
    this.#nextMs = options.firstMs;
  }

  pauseMs(): number {
    const wholeMs = this.#nextMs;
    this.#nextMs = Math.min(wholeMs * 2, this.#options.mostMs);
    return wholeMs * (0.5 + this.#random.float() / 2);
  }

  reset(): void {
    this.#nextMs = this.#options.firstMs;
  }
}
