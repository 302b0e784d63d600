import type { Socket } from 'node:net';
import { NabuError } from '../../common/errors/index.ts';
import { FrameReader } from './frame-reader.ts';

/** Logical connections of NRI on one socket (nri, pkg/net/multiplex, ttrpc.go). */
export const PLUGIN_SERVICE = 1;
export const RUNTIME_SERVICE = 2;

/** Connection id and length of the payload, 32 bits each, most significant byte first. */
const HEADER_BYTES = 8;
/** As the runtime bounds its own: one whole message of ttrpc. */
const MAX_PAYLOAD_BYTES = 10 + (4 << 20);
/**
 * What the runtime reads a frame with is 4096 bytes long unless it knows that more is to come, and a longer frame ends its
 * connection (multiplex, conn.Read: ENOMEM; ttrpc, newChannel: a bufio.Reader).
 */
const SENT_PAYLOAD_BYTES = 4096;
/** A runtime that does not read is none. */
const MAX_UNSENT_BYTES = 16 << 20;

export type MuxConnection = {
  send(bytes: Buffer): void;
};

/**
 * Logical connections on one socket, as NRI has them. They are not opened or closed on the wire: either side sends to a
 * number, and what nobody listens to is dropped. Bytes keep their order; where frames begin and end says nothing.
 */
export class Mux {
  readonly #socket: Socket;
  readonly #listeners = new Map<number, (bytes: Buffer) => void>();
  /** Resolves, with what was wrong if anything was, when the socket is closed. Never rejects. */
  readonly closed: Promise<NabuError | undefined>;
  #cause: NabuError | undefined;

  /** Takes over a connected socket. */
  constructor(socket: Socket) {
    this.#socket = socket;
    const reader = new FrameReader({
      peer: 'the container runtime',
      headerBytes: HEADER_BYTES,
      payloadBytes: (header) => header.readUInt32BE(4),
      maxPayloadBytes: MAX_PAYLOAD_BYTES,
      onFrame: (header, payload) => this.#listeners.get(header.readUInt32BE(0))?.(payload),
    });
    socket.on('data', (chunk: Buffer) => {
      if (this.#cause !== undefined) return; // what follows a mistake cannot be told apart
      try {
        reader.push(chunk);
      } catch (err) {
        this.close(NabuError.is(err) ? err : this.#broken(err));
      }
    });
    socket.on('error', (err) => this.close(this.#broken(err)));
    this.closed = new Promise((resolve) => socket.once('close', () => resolve(this.#cause)));
  }

  /** The listener may throw: that closes the socket. One listener for a number. */
  open(id: number, onBytes: (bytes: Buffer) => void): MuxConnection {
    this.#listeners.set(id, onBytes);
    return { send: (bytes) => this.#send(id, bytes) };
  }

  /** Nothing is sent or heard any more. The first cause is the one that `closed` has. */
  close(cause?: NabuError): void {
    this.#cause ??= cause;
    this.#socket.destroy();
  }

  #send(id: number, bytes: Buffer): void {
    if (this.#socket.destroyed) return;
    for (let at = 0; at < bytes.length; at += SENT_PAYLOAD_BYTES) {
      const payload = bytes.subarray(at, at + SENT_PAYLOAD_BYTES);
      const header = Buffer.alloc(HEADER_BYTES);
      header.writeUInt32BE(id, 0);
      header.writeUInt32BE(payload.length, 4);
      this.#socket.write(Buffer.concat([header, payload]));
    }
    if (this.#socket.writableLength > MAX_UNSENT_BYTES) {
      this.close(NabuError.of('QUEUE_FULL', { queue: 'the socket of the container runtime', limit: MAX_UNSENT_BYTES }));
    }
  }

  #broken(cause: unknown): NabuError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return NabuError.of('UNAVAILABLE', { target: 'the container runtime', reason }, { cause });
  }
}
