const FIRST_BYTES = 64 << 10;
/** Above this a buffer is given away with the answer rather than copied and kept. */
const KEPT_BYTES = 1 << 20;

/** Bytes that are put together, in one buffer that is used again: an answer to 5,000 names has 170 kB. */
export class ByteWriter {
  #bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  reset(): void {
    this.#length = 0;
  }

  /** Room for so many further bytes. */
  reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }

  /** Short texts without characters beyond ASCII. */
  ascii(text: string): void {
    this.reserve(text.length);
    const bytes = this.#bytes;
    let to = this.#length;
    for (let at = 0; at < text.length; at++) bytes[to++] = text.charCodeAt(at);
    this.#length = to;
  }

  /** Room for so many bytes, which the callback writes itself from a position on, singly or as words; it returns where it ended. */
  fill(most: number, write: (bytes: Uint8Array, words: DataView, at: number) => number): void {
    this.reserve(most);
    const words = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
    this.#length = write(this.#bytes, words, this.#length);
  }

  /** As bytes of a loop: what is copied here is a name of a node, below the cost of a call. */
  short(source: Uint8Array, from: number, to: number): void {
    this.reserve(to - from);
    const bytes = this.#bytes;
    let at = this.#length;
    for (let read = from; read < to; read++) bytes[at++] = source[read] ?? 0;
    this.#length = at;
  }

  long(source: Uint8Array, from: number, to: number): void {
    this.reserve(to - from);
    this.#bytes.set(source.subarray(from, to), this.#length);
    this.#length += to - from;
  }

  byte(value: number): void {
    this.reserve(1);
    this.#bytes[this.#length++] = value;
  }

  /**
   * What was written, as bytes that nobody writes again: a copy, because a slow client may still be reading when the next answer is
   * put together, or, where that would be dear, the buffer itself.
   */
  taken(): Buffer {
    const written = this.#bytes.subarray(0, this.#length);
    if (this.#length <= KEPT_BYTES) return Buffer.from(written);
    this.#bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
    this.#length = 0;
    return written;
  }
}
