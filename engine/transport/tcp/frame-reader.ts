import { crc32c, decodeHeader, FrameHeader, HEADER_BYTES } from '../../protocol/index.ts';

/** Who decides about incoming frames: a connection. */
export interface FrameSink {
  /**
   * A header has come. Sets `reader.meta` (metaLength bytes) and `reader.payload` (payloadLength bytes, or undefined to
   * throw them away) and returns true; or returns false to stop reading until `reader.proceed()`, with both set by then.
   */
  accept(header: FrameHeader): boolean;
  /** The whole frame lies in `reader.meta` and `reader.payload`. */
  frame(header: FrameHeader): void;
  /** The stream makes no sense from here on. */
  broken(reason: string): void;
}

const EMPTY = Buffer.alloc(0);
/**
 * Bytes that one read takes when a header is due: header and meta, small frames that came together, the beginning of a payload. To
 * copy what of them is payload costs less than to read each part by itself.
 */
const HEAD_BYTES = 16 * 1024;
/** What nobody wants is read into here by all connections. */
const discard = Buffer.alloc(64 * 1024);

/** A plain object instead of an enum: Node runs the source as it is. */
const STAGE = { header: 0, meta: 1, payload: 2, held: 3, stopped: 4 } as const;
type Stage = (typeof STAGE)[keyof typeof STAGE];

/**
 * Turns a byte stream into frames. `next` names the buffer that the socket reads into: the head buffer when a header is due, else
 * what is left of the meta or the payload, so that all but the beginning of a large payload lands where it is to stay.
 */
export class FrameReader {
  readonly header = new FrameHeader();
  meta: Buffer = EMPTY;
  payload: Uint8Array | undefined;
  /** Frames that are complete. */
  frames = 0;
  readonly #sink: FrameSink;
  readonly #head = Buffer.alloc(HEAD_BYTES);
  /** Bytes [from, to) of the head buffer have come and are not taken yet. They move only while no buffer is lent. */
  #from = 0;
  #to = 0;
  #lentHead = false;
  #stage: Stage = STAGE.header;
  /** Of the meta or the payload. */
  #filled = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** A frame has begun and is not complete. */
  get midFrame(): boolean {
    return this.#stage !== STAGE.header || this.#from < this.#to;
  }

  /** The sink gave up, or the stream was broken. */
  get stopped(): boolean {
    return this.#stage === STAGE.stopped;
  }

  get held(): boolean {
    return this.#stage === STAGE.held;
  }

  /** Where the next bytes go. The socket asks after every read, also after one that made it stop. */
  next(): Uint8Array {
    this.#lentHead = false;
    if (this.#stage === STAGE.meta) return this.#filled === 0 ? this.meta : this.meta.subarray(this.#filled);
    if (this.#stage === STAGE.payload) return this.#payloadRest();
    if (this.#stage === STAGE.stopped) return discard;
    this.#lentHead = true;
    if (this.#from > 0) this.#moveDown();
    // Never empty: a whole header would have been taken, and of a held frame the header has been.
    return this.#to === 0 ? this.#head : this.#head.subarray(this.#to);
  }

  /** `count` bytes lie in what `next` named. Returns false to stop reading. */
  received(count: number): boolean {
    if (this.#stage === STAGE.stopped) return false;
    if (this.#lentHead) {
      this.#to += count;
      this.#take();
    } else {
      this.#filled += count;
      if (this.#stage === STAGE.meta) {
        if (this.#filled === this.header.metaLength) this.#metaDone();
      } else if (this.#filled === this.header.payloadLength) {
        this.#frameDone();
      }
    }
    return !this.held && !this.stopped;
  }

  /** After a hold: takes what has come already. The caller resumes the socket unless the reader is held again. */
  proceed(): void {
    if (this.#stage !== STAGE.held) return;
    this.#enterBody();
    this.#take();
  }

  stop(): void {
    this.#stage = STAGE.stopped;
  }

  #moveDown(): void {
    if (this.#from < this.#to) this.#head.copyWithin(0, this.#from, this.#to);
    this.#to -= this.#from;
    this.#from = 0;
  }

  /** Hands out the head buffer: whole frames, and the part of the last that is there. */
  #take(): void {
    while (this.#from < this.#to && !this.held && !this.stopped) {
      if (this.#stage === STAGE.header) {
        if (this.#to - this.#from < HEADER_BYTES) return;
        this.#headerDone();
      } else if (this.#stage === STAGE.meta) {
        this.#takeInto(this.meta, this.header.metaLength);
        if (this.#filled === this.header.metaLength) this.#metaDone();
      } else {
        this.#takeInto(this.payload, this.header.payloadLength);
        if (this.#filled === this.header.payloadLength) this.#frameDone();
      }
    }
  }

  #takeInto(target: Uint8Array | undefined, length: number): void {
    const count = Math.min(length - this.#filled, this.#to - this.#from);
    target?.set(this.#head.subarray(this.#from, this.#from + count), this.#filled);
    this.#from += count;
    this.#filled += count;
  }

  #headerDone(): void {
    const flaw = decodeHeader(this.#head, this.header, this.#from);
    if (flaw !== undefined) {
      this.#break(flaw);
      return;
    }
    this.#from += HEADER_BYTES;
    this.#filled = 0;
    this.meta = EMPTY;
    this.payload = undefined;
    const go = this.#sink.accept(this.header);
    if (this.stopped) return;
    if (go) this.#enterBody();
    else this.#stage = STAGE.held;
  }

  #enterBody(): void {
    this.#filled = 0;
    if (this.header.metaLength > 0) this.#stage = STAGE.meta;
    else this.#enterPayload();
  }

  #metaDone(): void {
    if (crc32c(this.meta) !== this.header.metaCrc) {
      this.#break('meta checksum');
      return;
    }
    this.#filled = 0;
    this.#enterPayload();
  }

  #enterPayload(): void {
    if (this.header.payloadLength > 0) this.#stage = STAGE.payload;
    else this.#frameDone();
  }

  #frameDone(): void {
    this.#stage = STAGE.header;
    this.#filled = 0;
    this.frames++;
    this.#sink.frame(this.header);
  }

  #break(reason: string): void {
    this.#stage = STAGE.stopped;
    this.#sink.broken(reason);
  }

  #payloadRest(): Uint8Array {
    if (this.payload !== undefined) return this.#filled === 0 ? this.payload : this.payload.subarray(this.#filled);
    const left = this.header.payloadLength - this.#filled;
    return left < discard.length ? discard.subarray(0, left) : discard;
  }
}
