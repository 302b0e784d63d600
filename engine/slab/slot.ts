import { NabuError } from '../../common/errors/index.ts';
import type { Slab } from './slab.ts';

/**
 * A run of the slab, counted: whoever still touches the bytes (a socket, a device) holds it with `retain`, and the memory
 * is free again after as many `release` calls plus the owner's own.
 */
export class Slot {
  /** Bytes from the start of the slab, a multiple of 4096. */
  readonly offset: number;
  /** What was asked for; the slot itself is rounded up to whole blocks. */
  readonly lengthBytes: number;
  readonly #slab: Slab;
  #holders = 1;
  #bytes: Buffer | undefined;

  /** Only a slab makes slots. */
  constructor(slab: Slab, offset: number, lengthBytes: number) {
    this.#slab = slab;
    this.offset = offset;
    this.lengthBytes = lengthBytes;
  }

  /** A view of the slot. Throws FAILED_PRECONDITION after the last release. */
  get bytes(): Buffer {
    if (this.#holders === 0) throw released('reading a slot');
    this.#bytes ??= Buffer.from(this.#slab.buffer, this.offset, this.lengthBytes);
    return this.#bytes;
  }

  get released(): boolean {
    return this.#holders === 0;
  }

  retain(): this {
    if (this.#holders === 0) throw released('retaining a slot');
    this.#holders++;
    return this;
  }

  /** Throws FAILED_PRECONDITION when nobody holds the slot any more. */
  release(): void {
    if (this.#holders === 0) throw released('releasing a slot');
    if (--this.#holders > 0) return;
    this.#bytes = undefined;
    this.#slab.reclaim(this);
  }
}

function released(operation: string): NabuError {
  return NabuError.of('FAILED_PRECONDITION', { operation, reason: 'it was released before' });
}
