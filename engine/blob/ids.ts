import { NabuError } from '../../common/errors/index.ts';

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

export const KEY_BYTES = 32;
export const STRIPE_ID_BYTES = 16;
export const OWNER_BYTES = 16;

/** The name of a blob: 32 bytes, a hash (content, token or log position). */
export type BlobKey = Branded<Uint8Array, 'BlobKey'>;
/** The same as 64 lower-case hex digits, for maps and for people. */
export type BlobKeyHex = Branded<string, 'BlobKeyHex'>;
/** 16 bytes that tell two different blobs under one key apart: a hash of the bytes with k, m and the length. */
export type StripeId = Branded<Uint8Array, 'StripeId'>;
export type StripeIdHex = Branded<string, 'StripeIdHex'>;
/** A stor-node: 1 to 63 of a-z, 0-9 and '-'. */
export type NodeId = Branded<string, 'NodeId'>;
/** A volume: 32 lower-case hex digits. Its 16 bytes are the owner of the volume's log blobs. */
export type VolumeId = Branded<string, 'VolumeId'>;
/** The UUID of a device, 16 bytes. */
export type DeviceId = Branded<Uint8Array, 'DeviceId'>;
/** The number of a cluster map; a later map has a greater one. */
export type Epoch = Branded<number, 'Epoch'>;

const HEX_64 = /^[0-9a-f]{64}$/;
const HEX_32 = /^[0-9a-f]{32}$/;
const NODE_ID = /^[a-z0-9-]{1,63}$/;

function fixedBytes(field: string, bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length === length) return bytes;
  throw NabuError.of('INVALID_ARGUMENT', { field, reason: `has ${bytes.length} bytes, not ${length}` });
}

/** A view of the bytes (not a copy). Throws INVALID_ARGUMENT unless there are 32. */
export function blobKey(bytes: Uint8Array): BlobKey {
  return fixedBytes('key', bytes, KEY_BYTES) as BlobKey;
}

export function blobKeyFromHex(hex: string): BlobKey {
  if (!HEX_64.test(hex))
    throw NabuError.of('INVALID_ARGUMENT', { field: 'key', reason: 'is not 64 lower-case hex digits' });
  return Buffer.from(hex, 'hex') as Uint8Array as BlobKey;
}

/** Hex of any run of bytes, without copying them first. */
export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

export function blobKeyHex(key: BlobKey): BlobKeyHex {
  return hexOf(key) as BlobKeyHex;
}

export function stripeId(bytes: Uint8Array): StripeId {
  return fixedBytes('stripeId', bytes, STRIPE_ID_BYTES) as StripeId;
}

export function stripeIdHex(id: Uint8Array): StripeIdHex {
  return hexOf(fixedBytes('stripeId', id, STRIPE_ID_BYTES)) as StripeIdHex;
}

export function isNodeId(text: string): text is NodeId {
  return NODE_ID.test(text);
}

export function nodeId(text: string): NodeId {
  if (isNodeId(text)) return text;
  throw NabuError.of('INVALID_ARGUMENT', { field: 'nodeId', reason: "is not 1 to 63 of a-z, 0-9 and '-'" });
}

export function isVolumeId(text: string): text is VolumeId {
  return HEX_32.test(text);
}

export function volumeId(text: string): VolumeId {
  if (isVolumeId(text)) return text;
  throw NabuError.of('INVALID_ARGUMENT', { field: 'volumeId', reason: 'is not 32 lower-case hex digits' });
}

/** The 16 bytes under which stor-nodes know a volume. */
export function ownerOf(volume: VolumeId): Uint8Array {
  return Buffer.from(volume, 'hex');
}

export function volumeOf(owner: Uint8Array): VolumeId {
  return hexOf(fixedBytes('owner', owner, OWNER_BYTES)) as VolumeId;
}

export function deviceId(bytes: Uint8Array): DeviceId {
  return fixedBytes('deviceId', bytes, 16) as DeviceId;
}

export function epoch(value: number): Epoch {
  if (Number.isSafeInteger(value) && value >= 0) return value as Epoch;
  throw NabuError.of('INVALID_ARGUMENT', { field: 'epoch', reason: `${value} is not a whole number of at least 0` });
}
