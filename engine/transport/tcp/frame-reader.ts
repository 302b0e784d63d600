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
const HOLD_BYTES = 4096;
/** What nobody wants is read into here by all connections. */
const discard = Buffer.alloc(64 * 1024);

/** A plain object instead of an enum: Node runs the source as it is. */
const STAGE = { header: 0, meta: 1, payload: 2, held: 3, stopped: 4 } as const;
type Stage = (typeof STAGE)[keyof typeof STAGE];

/**
 * Turns a byte stream into frames without copying: `next` names the buffer that the socket reads into, never longer than
 * what is left of the header, the meta or the payload, so that each lands where it is to stay.
 */
export class FrameReader {
  readonly header = new FrameHeader();
  meta: Buffer = EMPTY;
  payload: Uint8Array | undefined;
  /** Frames that are complete. */
  frames = 0;
  readonly #sink: FrameSink;
  readonly #headerBytes = Buffer.alloc(HEADER_BYTES);
  #stage: Stage = STAGE.header;
  #filled = 0;
  /** The socket must name a buffer before it stops: a few bytes of what follows a hold come through this one. */
  #hold: Buffer | undefined;
  #lentHold = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** A frame has begun and is not complete. */
  get midFrame(): boolean {
    return this.#stage !== STAGE.header || this.#filled > 0;
  }

  /** The sink gave up, or the stream was broken. */
  get stopped(): boolean {
    return this.#stage === STAGE.stopped;
  }

  get held(): boolean {
    return this.#stage === STAGE.held;
  }

  /** Where the next bytes go. */
  next(): Uint8Array {
    this.#lentHold = false;
    if (this.#stage === STAGE.header)
      return this.#filled === 0 ? this.#headerBytes : rest(this.#headerBytes, this.#filled);
    if (this.#stage === STAGE.meta) return this.#filled === 0 ? this.meta : rest(this.meta, this.#filled);
    if (this.#stage === STAGE.payload) return this.#payloadRest();
    if (this.#stage === STAGE.stopped) return discard;
    this.#hold ??= Buffer.alloc(HOLD_BYTES);
    this.#lentHold = true;
    return this.#hold.subarray(0, Math.min(HOLD_BYTES, this.#lengthAfterHold()));
  }

  /** `count` bytes lie in what `next` named. Returns false to stop reading. */
  received(count: number, into: Uint8Array): boolean {
    if (this.#stage === STAGE.stopped) return false;
    if (this.#lentHold) this.#target().set(into.subarray(0, count), this.#filled);
    this.#filled += count;
    if (this.#stage === STAGE.header) {
      if (this.#filled < HEADER_BYTES) return true;
      this.#headerDone();
    } else if (this.#stage === STAGE.meta) {
      if (this.#filled < this.header.metaLength) return true;
      this.#metaDone();
    } else {
      if (this.#filled < this.header.payloadLength) return true;
      this.#frameDone();
    }
    return !this.held && !this.stopped;
  }

  /** After a hold: reading goes on. The caller resumes the socket. */
  proceed(): void {
    if (this.#stage === STAGE.held) this.#enterBody();
  }

  stop(): void {
    this.#stage = STAGE.stopped;
  }

  #headerDone(): void {
    const flaw = decodeHeader(this.#headerBytes, this.header);
    if (flaw !== undefined) {
      this.#break(flaw);
      return;
    }
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
    if (this.payload !== undefined) return this.#filled === 0 ? this.payload : rest(this.payload, this.#filled);
    const left = this.header.payloadLength - this.#filled;
    return left < discard.length ? discard.subarray(0, left) : discard;
  }

  /** What the bytes of the hold buffer belong to, now that reading goes on. */
  #target(): Uint8Array {
    if (this.#stage === STAGE.header) return this.#headerBytes;
    if (this.#stage === STAGE.meta) return this.meta;
    return this.payload ?? discard;
  }

  #lengthAfterHold(): number {
    return this.header.metaLength || this.header.payloadLength || HEADER_BYTES;
  }
}

function rest(bytes: Uint8Array, from: number): Uint8Array {
  return bytes.subarray(from);
}
