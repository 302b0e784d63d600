import type { Socket } from 'node:net';
import { crc32c, encodeHeader, FrameHeader, HEADER_BYTES } from '../../protocol/index.ts';
import type { AnswerPayload, PayloadRef } from '../transport.ts';

/** Told when the bytes of a frame have left for the kernel, or never will: nobody touches them any more. */
export interface Sent {
  sent(): void;
}

const ARENA_BYTES = 64 * 1024;
/** Larger metas are written from where they lie. */
const COPY_LIMIT = 32 * 1024;
/** So are larger payloads: to copy a small one costs less than to hand it over by itself, and several share a system call. */
const COPY_PAYLOAD_LIMIT = 8 * 1024;
const SPARE_ARENAS = 64;
/** Buffers for headers and small metas, shared by all connections. */
const spareArenas: Buffer[] = [];

/** What goes to the socket with one system call. */
class Batch {
  readonly arena: Buffer;
  arenaAt = 0;
  /** From here on the arena is in no chunk yet. */
  pieceFrom = 0;
  readonly chunks: Uint8Array[] = [];
  readonly waiting: Sent[] = [];

  constructor() {
    this.arena = spareArenas.pop() ?? Buffer.allocUnsafeSlow(ARENA_BYTES);
  }

  closePiece(): void {
    if (this.arenaAt > this.pieceFrom) this.chunks.push(this.arena.subarray(this.pieceFrom, this.arenaAt));
    this.pieceFrom = this.arenaAt;
  }

  left(): void {
    for (const one of this.waiting) one.sent();
    if (spareArenas.length < SPARE_ARENAS) spareArenas.push(this.arena);
  }
}

/**
 * Frames to the socket: headers, small metas and small payloads are gathered in one buffer, large payloads go from where they lie. A
 * frame that is `urgent` or has a large payload leaves at once with all before it; others wait for the end of the event loop's turn, so
 * that what became ready together costs one system call.
 */
export class FrameWriter {
  readonly header = new FrameHeader();
  /** Bytes handed to the socket that have not left yet. */
  bytesQueued = 0;
  /** Batches that have left; to see whether the peer still reads. */
  batchesLeft = 0;
  readonly #socket: Socket;
  readonly #slabBytes: Buffer;
  #batch: Batch | undefined;
  #scheduled = false;
  readonly #flushLater = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  constructor(socket: Socket, slab: ArrayBuffer) {
    this.#socket = socket;
    this.#slabBytes = Buffer.from(slab);
  }

  view(ref: PayloadRef | AnswerPayload): Uint8Array {
    if ('memory' in ref && ref.memory !== undefined) return new Uint8Array(ref.memory, ref.offset, ref.length);
    return this.#slabBytes.subarray(ref.offset, ref.offset + ref.length);
  }

  /** Sends what `header` describes; its lengths and checksum are filled in here. */
  send(
    meta: Uint8Array | undefined,
    payload: PayloadRef | AnswerPayload | undefined,
    sent: Sent | undefined,
    urgent: boolean,
  ): void {
    const metaLength = meta === undefined ? 0 : meta.length;
    const payloadLength = payload === undefined ? 0 : payload.length;
    const copiesPayload = payloadLength <= COPY_PAYLOAD_LIMIT;
    const copied = (metaLength <= COPY_LIMIT ? metaLength : 0) + (copiesPayload ? payloadLength : 0);
    if (this.#batch !== undefined && this.#batch.arenaAt + HEADER_BYTES + copied > ARENA_BYTES) this.flush();
    this.#batch ??= new Batch();
    const batch = this.#batch;
    const header = this.header;
    header.metaLength = metaLength;
    header.payloadLength = payloadLength;
    header.metaCrc = meta === undefined || metaLength === 0 ? 0 : crc32c(meta);
    encodeHeader(batch.arena, batch.arenaAt, header);
    batch.arenaAt += HEADER_BYTES;
    if (meta !== undefined && metaLength > 0) this.#add(batch, meta, metaLength <= COPY_LIMIT);
    if (payload !== undefined && payloadLength > 0) this.#add(batch, this.view(payload), copiesPayload);
    this.bytesQueued += HEADER_BYTES + metaLength + payloadLength;
    if (sent !== undefined) batch.waiting.push(sent);
    if (urgent || !copiesPayload) this.flush();
    else this.#schedule();
  }

  flush(): void {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    batch.closePiece();
    this.#write(batch);
  }

  #add(batch: Batch, bytes: Uint8Array, copy: boolean): void {
    if (copy) {
      batch.arena.set(bytes, batch.arenaAt);
      batch.arenaAt += bytes.length;
      return;
    }
    batch.closePiece();
    batch.chunks.push(bytes);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#flushLater);
  }

  /** A socket that is gone calls back too: what it was given is never touched afterwards. */
  #write(batch: Batch): void {
    const { chunks } = batch;
    let bytes = 0;
    for (const chunk of chunks) bytes += chunk.length;
    const done = (): void => {
      this.bytesQueued -= bytes;
      this.batchesLeft++;
      batch.left();
    };
    const last = chunks.length - 1;
    const socket = this.#socket;
    if (last > 0) socket.cork();
    for (let i = 0; i < last; i++) {
      const chunk = chunks[i];
      if (chunk !== undefined) socket.write(chunk);
    }
    const tail = chunks[last];
    if (tail !== undefined) socket.write(tail, done);
    if (last > 0) socket.uncork();
  }
}
