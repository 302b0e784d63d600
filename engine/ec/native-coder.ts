import { fromNative, NabuError } from '../../common/errors/index.ts';
import { BLOCK_BYTES, STRIPE_ID_BYTES, stripeId } from '../blob/index.ts';
import type { EncodedStripe, ErasureCoder, Reconstruction, StripeRange } from './erasure-coder.ts';
import { type EcDriver, type NativeCoder, nativeCall } from './native.ts';

/**
 * Work that keeps the JavaScript thread for less than this is done at once: waking a worker and coming back costs about
 * 50 us, and the loop waits for it no longer than for a few socket reads.
 */
const ASYNC_FROM_US = 100;

/** Bytes of all shards that a driver codes, sums and hashes in a microsecond; measured by native/ec/bench, rounded down. */
const BYTES_PER_US: Readonly<Record<string, number>> = { gfni: 20_000, avx2: 10_000, isal: 10_000, scalar: 200 };
const SLOWEST_BYTES_PER_US = 200;

type Settle<T> = (error: unknown, value: T) => void;

/** ErasureCoder over native/ec: on the caller's thread when that is quicker for everybody, else on the addon's. */
export class NativeErasureCoder implements ErasureCoder {
  readonly k: number;
  readonly m: number;
  readonly driver: string;
  readonly #native: NativeCoder;
  readonly #asyncFromBytes: number;

  /**
   * Throws INVALID_ARGUMENT for a k or m out of 1..16, 0..8 or an unknown driver, DRIVER_UNAVAILABLE with what is missing.
   * `asyncFromUs`: from which estimated duration on work goes to another thread.
   */
  constructor(slab: ArrayBuffer, k: number, m: number, driver: EcDriver = 'auto', asyncFromUs = ASYNC_FROM_US) {
    this.#native = nativeCall((ec) => new ec.Coder(slab, k, m, driver));
    this.k = k;
    this.m = m;
    this.driver = this.#native.driver;
    this.#asyncFromBytes = asyncFromUs * (BYTES_PER_US[this.driver] ?? SLOWEST_BYTES_PER_US);
  }

  async encodeStripe(stripe: StripeRange): Promise<EncodedStripe> {
    const { offset, shardLength, blobLength } = stripe;
    const shards = this.k + this.m;
    checkShardLength(shardLength);
    const crcs = new Uint32Array((shards * shardLength) / BLOCK_BYTES);
    const hash = new Uint8Array(STRIPE_ID_BYTES);
    if (shards * shardLength < this.#asyncFromBytes) {
      callNative(() => this.#native.encodeStripe(offset, shardLength, blobLength, crcs, hash));
    } else {
      await callNativeAsync<undefined>((done) =>
        this.#native.encodeStripeAsync(offset, shardLength, blobLength, crcs, hash, done),
      );
    }
    return { crcs, stripeId: stripeId(hash) };
  }

  async reconstruct(request: Reconstruction): Promise<void> {
    const { presentMask, wantedMask, shardLength } = request;
    const offsets = Float64Array.from(request.offsets);
    if ((this.k + countBits(wantedMask)) * shardLength < this.#asyncFromBytes) {
      callNative(() => this.#native.reconstruct(offsets, presentMask, wantedMask, shardLength));
    } else {
      await callNativeAsync<undefined>((done) =>
        this.#native.reconstructAsync(offsets, presentMask, wantedMask, shardLength, done),
      );
    }
  }

  async verify(offsets: ArrayLike<number>, shardLength: number): Promise<number> {
    const at = Float64Array.from(offsets);
    if ((this.k + this.m) * shardLength < this.#asyncFromBytes) {
      return callNative(() => this.#native.verify(at, shardLength));
    }
    return await callNativeAsync<number>((done) => this.#native.verifyAsync(at, shardLength, done));
  }
}

/** The checksum array is made before the addon sees the length: a wild one must not become a wild allocation. */
function checkShardLength(shardLength: number): void {
  if (
    Number.isSafeInteger(shardLength) &&
    shardLength > 0 &&
    shardLength % BLOCK_BYTES === 0 &&
    shardLength < 2 ** 40
  ) {
    return;
  }
  throw NabuError.of('INVALID_ARGUMENT', {
    field: 'shardLength',
    reason: `${shardLength} is not a positive multiple of ${BLOCK_BYTES}`,
  });
}

function callNative<T>(call: () => T): T {
  try {
    return call();
  } catch (err) {
    throw fromNative(err);
  }
}

function callNativeAsync<T>(start: (done: Settle<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    // What `start` throws rejects the promise as well.
    callNative(() => start((error, value) => (error === null ? resolve(value) : reject(fromNative(error)))));
  });
}

function countBits(mask: number): number {
  let count = 0;
  for (let rest = mask >>> 0; rest !== 0; rest &= rest - 1) count++;
  return count;
}
