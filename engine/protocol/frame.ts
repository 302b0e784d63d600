import { crc32c } from './crc32c.ts';

/**
 * A frame is a 48-byte header, then meta, then payload; all little endian.
 *
 *      0 u32 magic "NABW"    4 u8 version   5 u8 kind   6 u16 op
 *      8 u64 request id     16 u16 status  18 u16 flags (0)
 *     20 u32 meta length    24 u32 payload length      28 u32 CRC32C of meta
 *     32 u64 map epoch      40 u32 deadline in ms      44 u32 CRC32C of bytes 0..43
 *
 * The payload carries its checksums in the meta (a CRC32C per 4 KiB, made where the data was made).
 */
export const HEADER_BYTES = 48;
export const MAX_META_BYTES = 1024 * 1024;
export const MAX_PAYLOAD_BYTES = 64 * 1024 * 1024 + 4096;
export const MAX_DEADLINE_MS = 24 * 3600 * 1000;
export const PROTOCOL_VERSION = 1;

export const FRAME_KIND = { request: 1, response: 2, hello: 3, cancel: 4 } as const;

const MAGIC = 0x5742414e;
const HIGH_WORD = 2 ** 32;
const MAX_HIGH_WORD = 2 ** 21 - 1; // of a safe integer
const CRC_AT = 44;

/** One object per connection and direction, filled again for every frame. */
export class FrameHeader {
  kind = 0;
  op = 0;
  requestId = 0;
  status = 0;
  metaLength = 0;
  payloadLength = 0;
  metaCrc = 0;
  mapEpoch = 0;
  deadlineMs = 0;
}

/** Writes 48 bytes at `at`. The fields are ours and known to be in range. */
export function encodeHeader(out: Buffer, at: number, header: FrameHeader): void {
  out.writeUInt32LE(MAGIC, at);
  out[at + 4] = PROTOCOL_VERSION;
  out[at + 5] = header.kind;
  out.writeUInt16LE(header.op, at + 6);
  write64(out, at + 8, header.requestId);
  out.writeUInt32LE(header.status, at + 16); // flags, the upper half, are zero
  out.writeUInt32LE(header.metaLength, at + 20);
  out.writeUInt32LE(header.payloadLength, at + 24);
  out.writeUInt32LE(header.metaCrc, at + 28);
  write64(out, at + 32, header.mapEpoch);
  out.writeUInt32LE(header.deadlineMs, at + 40);
  out.writeUInt32LE(crc32c(out, at, at + CRC_AT), at + CRC_AT);
}

/** Fills `into` from the 48 bytes at `at`. Returns what is wrong, or undefined; after a flaw `into` means nothing. */
export function decodeHeader(bytes: Buffer, into: FrameHeader, at = 0): string | undefined {
  if (bytes.readUInt32LE(at) !== MAGIC) return 'wrong magic';
  if (bytes.readUInt32LE(at + CRC_AT) !== crc32c(bytes, at, at + CRC_AT)) return 'header checksum';
  if (bytes[at + 4] !== PROTOCOL_VERSION) return `version ${bytes[at + 4]}, this release speaks ${PROTOCOL_VERSION}`;
  if (bytes.readUInt16LE(at + 18) !== 0) return 'unknown flags';
  if (bytes.readUInt32LE(at + 12) > MAX_HIGH_WORD || bytes.readUInt32LE(at + 36) > MAX_HIGH_WORD)
    return 'a number above 2^53';
  into.kind = bytes[at + 5] ?? 0;
  into.op = bytes.readUInt16LE(at + 6);
  into.requestId = bytes.readUInt32LE(at + 8) + bytes.readUInt32LE(at + 12) * HIGH_WORD;
  into.status = bytes.readUInt16LE(at + 16);
  into.metaLength = bytes.readUInt32LE(at + 20);
  into.payloadLength = bytes.readUInt32LE(at + 24);
  into.metaCrc = bytes.readUInt32LE(at + 28);
  into.mapEpoch = bytes.readUInt32LE(at + 32) + bytes.readUInt32LE(at + 36) * HIGH_WORD;
  into.deadlineMs = bytes.readUInt32LE(at + 40);
  return flawOf(into);
}

function flawOf(header: FrameHeader): string | undefined {
  const { kind, op, requestId, status, metaLength, payloadLength, deadlineMs } = header;
  if (metaLength > MAX_META_BYTES) return `meta of ${metaLength} bytes`;
  if (payloadLength > MAX_PAYLOAD_BYTES) return `payload of ${payloadLength} bytes`;
  if (metaLength === 0 && header.metaCrc !== 0) return 'checksum of no meta';
  if (deadlineMs > MAX_DEADLINE_MS) return `deadline of ${deadlineMs} ms`;
  if (kind === FRAME_KIND.request) {
    if (op === 0 || requestId === 0 || status !== 0 || deadlineMs === 0) return 'request header';
  } else if (kind === FRAME_KIND.response) {
    if (requestId === 0 || deadlineMs !== 0) return 'response header';
  } else if (kind === FRAME_KIND.hello) {
    if (payloadLength !== 0 || requestId !== 0 || deadlineMs !== 0) return 'hello header';
  } else if (kind === FRAME_KIND.cancel) {
    if (requestId === 0 || metaLength !== 0 || payloadLength !== 0 || status !== 0) return 'cancel header';
  } else {
    return `kind ${kind}`;
  }
  return undefined;
}

function write64(out: Buffer, at: number, value: number): void {
  out.writeUInt32LE(value % HIGH_WORD, at);
  out.writeUInt32LE(Math.floor(value / HIGH_WORD), at + 4);
}
