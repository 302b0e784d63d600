import type { ErasureCoder } from './erasure-coder.ts';
import { type EcDriver, nativeCall } from './native.ts';
import { NativeErasureCoder } from './native-coder.ts';

export type EcWorkers = {
  /** Threads of the addon, 1..64. */
  readonly threads: number;
  /** Calls that may be out at once, 1..65536; one more is refused with QUEUE_FULL. */
  readonly queueLimit: number;
};

/** The codes of one slab, each made when it is first asked for. */
export class ErasureCoders {
  readonly #slab: ArrayBuffer;
  readonly #driver: EcDriver;
  readonly #made = new Map<number, ErasureCoder>();

  constructor(slab: ArrayBuffer, driver: EcDriver = 'auto') {
    this.#slab = slab;
    this.#driver = driver;
  }

  /** The code of a policy. Throws as NativeErasureCoder's constructor does. */
  of(policy: { readonly k: number; readonly m: number }): ErasureCoder {
    const name = policy.k * 256 + policy.m;
    let coder = this.#made.get(name);
    if (coder === undefined) {
      coder = new NativeErasureCoder(this.#slab, policy.k, policy.m, this.#driver);
      this.#made.set(name, coder);
    }
    return coder;
  }
}

/** Default: one thread, 256 calls. Throws FAILED_PRECONDITION after the first call that went to a thread. */
export function configureEcWorkers(workers: EcWorkers): void {
  nativeCall((ec) => ec.configureWorkers(workers.threads, workers.queueLimit));
}
