import { NabuError } from '../../common/errors/index.ts';

export type FrameReaderOptions = {
  /** Who sends, for the error. */
  readonly peer: string;
  readonly headerBytes: number;
  /** Pure: how many bytes follow a header. */
  readonly payloadBytes: (header: Buffer) => number;
  readonly maxPayloadBytes: number;
  /** Header and payload are the listener's to keep. */
  readonly onFrame: (header: Buffer, payload: Buffer) => void;
};

/**
 * Cuts a stream of bytes into frames of a header of one length and a payload whose length the header says. It holds at most
 * one unfinished frame.
 */
export class FrameReader {
  readonly #options: FrameReaderOptions;
  #header: Buffer | undefined;
  /** Of what is being gathered, header or payload. */
  #wantedBytes: number;
  #chunks: Buffer[] = [];
  #gatheredBytes = 0;

  constructor(options: FrameReaderOptions) {
    this.#options = options;
    this.#wantedBytes = options.headerBytes;
  }

  /** Throws PROTOCOL_ERROR for a frame that is longer than may be; the reader is of no use after that. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const taken = chunk.subarray(at, at + this.#wantedBytes - this.#gatheredBytes);
      this.#chunks.push(taken);
      this.#gatheredBytes += taken.length;
      at += taken.length;
      if (this.#gatheredBytes === this.#wantedBytes) this.#finishPart();
    }
  }

  #finishPart(): void {
    const [only, ...more] = this.#chunks;
    // A copy where it is one part of a chunk: the rest of the chunk must not live as long as it does.
    const part = only !== undefined && more.length === 0 ? Buffer.from(only) : Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#gatheredBytes = 0;
    const header = this.#header;
    if (header !== undefined) {
      this.#begin();
      this.#options.onFrame(header, part);
      return;
    }
    const { payloadBytes, maxPayloadBytes, peer, onFrame } = this.#options;
    const sizeBytes = payloadBytes(part);
    if (sizeBytes > maxPayloadBytes) {
      const reason = `a frame of ${sizeBytes} bytes, at most ${maxPayloadBytes} are allowed`;
      throw NabuError.of('PROTOCOL_ERROR', { peer, reason });
    }
    if (sizeBytes === 0) {
      onFrame(part, Buffer.alloc(0));
      return;
    }
    this.#header = part;
    this.#wantedBytes = sizeBytes;
  }

  #begin(): void {
    this.#header = undefined;
    this.#wantedBytes = this.#options.headerBytes;
  }
}
