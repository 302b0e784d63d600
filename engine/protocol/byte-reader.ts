import { malformed } from './malformed.ts';

const HIGH_WORD = 2 ** 32;
const SHORT_BYTES = 64;

/** Takes fields off a message front to back. Throws PROTOCOL_ERROR when a field is cut off, out of range, or bytes are left. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;
  #at = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#advance(8), true);
  }

  /** A u64 that must be a safe integer. */
  safe64(): number {
    const at = this.#advance(8);
    const value = this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * HIGH_WORD;
    if (Number.isSafeInteger(value)) return value;
    throw malformed(`${this.#what}: a number exceeds 2^53`);
  }

  flag(): boolean {
    const value = this.u8();
    if (value > 1) throw malformed(`${this.#what}: ${value} where 0 or 1 belongs`);
    return value === 1;
  }

  /** A copy: messages live in buffers that are used again. */
  bytes(length: number): Uint8Array {
    const at = this.#advance(length);
    const copy = new Uint8Array(length); // slice() of a Buffer would be a view
    if (length > SHORT_BYTES) copy.set(this.#bytes.subarray(at, at + length));
    // To make a view for a key would cost more than to copy it.
    else for (let i = 0; i < length; i++) copy[i] = this.#bytes[at + i] ?? 0;
    return copy;
  }

  text(length: number): string {
    const at = this.#advance(length);
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + at, length).toString('utf8');
  }

  zeros(length: number): void {
    const at = this.#advance(length);
    for (let i = at; i < at + length; i++) {
      if (this.#bytes[i] !== 0) throw malformed(`${this.#what}: a reserved byte is not zero`);
    }
  }

  atMost(value: number, limit: number, field: string): number {
    if (value <= limit) return value;
    throw malformed(`${this.#what}: ${field} is ${value}, at most ${limit}`);
  }

  end(): void {
    if (this.left !== 0) throw malformed(`${this.#what}: ${this.left} bytes too many`);
  }

  #advance(length: number): number {
    const at = this.#at;
    if (length > this.#bytes.length - at) {
      throw malformed(`${this.#what}: cut off at byte ${this.#bytes.length}`);
    }
    this.#at = at + length;
    return at;
  }
}
