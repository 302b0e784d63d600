import { NabuError } from '../../common/errors/index.ts';

const HIGH_WORD = 2 ** 32;

/** Puts fields into a message of known length front to back. */
export class ByteWriter {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(lengthBytes: number) {
    this.#buffer = Buffer.allocUnsafe(lengthBytes); // from Node's pool: every byte is written before done()
  }

  u8(value: number): this {
    this.#at = this.#buffer.writeUInt8(value, this.#at);
    return this;
  }

  u16(value: number): this {
    this.#at = this.#buffer.writeUInt16LE(value, this.#at);
    return this;
  }

  u32(value: number): this {
    this.#at = this.#buffer.writeUInt32LE(value, this.#at);
    return this;
  }

  u64(value: bigint): this {
    this.#at = this.#buffer.writeBigUInt64LE(value, this.#at);
    return this;
  }

  safe64(value: number): this {
    return this.u32(value % HIGH_WORD).u32(Math.floor(value / HIGH_WORD));
  }

  flag(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }

  /** Throws INVALID_ARGUMENT unless `bytes` has the length that the message gives this field. */
  bytes(bytes: Uint8Array, length: number, field: string): this {
    if (bytes.length !== length) {
      throw NabuError.of('INVALID_ARGUMENT', { field, reason: `has ${bytes.length} bytes, not ${length}` });
    }
    this.#buffer.set(bytes, this.#at);
    this.#at += length;
    return this;
  }

  zeros(length: number): this {
    this.#buffer.fill(0, this.#at, this.#at + length);
    this.#at += length;
    return this;
  }

  /** The whole message. Its length was worked out before the fields: a difference is a bug of the codec. */
  done(): Buffer {
    if (this.#at !== this.#buffer.length) {
      throw new RangeError(`message of ${this.#buffer.length} bytes was filled to ${this.#at}`);
    }
    return this.#buffer;
  }
}
