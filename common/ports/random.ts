import { randomBytes, randomFillSync } from 'node:crypto';

/** Randomness, injected so that a simulator can replay it. */
export type Random = {
  bytes(count: number): Uint8Array;
  /** Uniform in 0 .. 2^32 - 1. */
  uint32(): number;
  /** Uniform in [0, 1). */
  float(): number;
};

const POOL_WORDS = 1024;
const pool = new Uint32Array(POOL_WORDS);
let used = POOL_WORDS;

function poolWord(): number {
  if (used === POOL_WORDS) {
    randomFillSync(pool);
    used = 0;
  }
  return pool[used++] ?? 0;
}

/** The kernel's randomness; drawn in batches because one call into it per word costs a microsecond. */
export const realRandom: Random = {
  bytes: (count) => new Uint8Array(randomBytes(count)),
  uint32: poolWord,
  float: () => ((poolWord() >>> 5) * 2 ** 26 + (poolWord() >>> 6)) / 2 ** 53,
};
