import type { Random } from './random.ts';

/**
 * Replays the same sequence for the same seed: xoshiro128** (Blackman and Vigna, "Scrambled Linear Pseudorandom Number
 * Generators", 2021), seeded through splitmix32. Not for secrets.
 */
export class SeededRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    let state = seed >>> 0;
    const split = (): number => {
      state = (state + 0x9e3779b9) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return (z ^ (z >>> 16)) >>> 0;
    };
    this.#a = split();
    this.#b = split();
    this.#c = split();
    this.#d = split();
  }

  uint32(): number {
    const five = Math.imul(this.#b, 5);
    const result = Math.imul((five << 7) | (five >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  float(): number {
    return ((this.uint32() >>> 5) * 2 ** 26 + (this.uint32() >>> 6)) / 2 ** 53;
  }

  bytes(count: number): Uint8Array {
    const out = new Uint8Array(count);
    const view = new DataView(out.buffer);
    let at = 0;
    for (; at + 4 <= count; at += 4) view.setUint32(at, this.uint32(), true);
    for (let word = this.uint32(); at < count; at++, word >>>= 8) out[at] = word & 0xff;
    return out;
  }

  /** An independent generator whose sequence depends on this one's state alone: one per simulated actor. */
  fork(): SeededRandom {
    return new SeededRandom(this.uint32());
  }
}
