import { FrameReader } from './frame-reader.ts';
import type { MuxConnection } from './mux.ts';

/** ttrpc, PROTOCOL.md, 'Message Types'. */
export const REQUEST = 1;
export const RESPONSE = 2;

/** Length, stream id, type, flags. */
const HEADER_BYTES = 10;
/** ttrpc, PROTOCOL.md: "The maximum data length is 4MB". */
export const MAX_MESSAGE_BYTES = 4 << 20;

export type TtrpcMessage = {
  readonly streamId: number;
  readonly type: number;
  readonly flags: number;
  readonly payload: Buffer;
};

/** Messages of ttrpc on a connection: bytes in, messages out, and the other way. */
export class TtrpcChannel {
  readonly #connection: MuxConnection;

  /** `open` is given what takes the connection's bytes: it throws PROTOCOL_ERROR for a message that is too long. */
  constructor(
    open: (onBytes: (bytes: Buffer) => void) => MuxConnection,
    peer: string,
    onMessage: (message: TtrpcMessage) => void,
  ) {
    const reader = new FrameReader({
      peer,
      headerBytes: HEADER_BYTES,
      payloadBytes: (header) => header.readUInt32BE(0),
      maxPayloadBytes: MAX_MESSAGE_BYTES,
      onFrame: (header, payload) =>
        onMessage({ streamId: header.readUInt32BE(4), type: header.readUInt8(8), flags: header.readUInt8(9), payload }),
    });
    this.#connection = open((bytes) => reader.push(bytes));
  }

  send({ streamId, type, flags, payload }: TtrpcMessage): void {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32BE(payload.length, 0);
    header.writeUInt32BE(streamId, 4);
    header.writeUInt8(type, 8);
    header.writeUInt8(flags, 9);
    this.#connection.send(Buffer.concat([header, payload]));
  }
}
