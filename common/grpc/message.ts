/**
 * What may be given where a message is to be sent: any field may be left out (it then has its proto3 default), and a
 * 64-bit integer may be a safe number.
 */
export type MessageInit<T> = T extends Uint8Array
  ? Uint8Array
  : T extends bigint
    ? bigint | number
    : T extends readonly (infer Item)[]
      ? readonly MessageInit<Item>[]
      : T extends object
        ? { readonly [K in keyof T]?: MessageInit<T[K]> | undefined }
        : T;

/** A protobufjs static class, as scripts/codegen.ts describes it. */
export type Codec = {
  decode(bytes: Uint8Array): object;
  encode(message: object): { finish(): Uint8Array };
  fromObject(plain: object): object;
  toObject(message: object, options: object): object;
};

/** 64-bit integers become bigint; every field is present, so that nobody has to guess at defaults. */
const PLAIN = { longs: BigInt, defaults: true, arrays: true, objects: true, oneofs: true } as const;

export function encodeMessage(codec: Codec, plain: object): Buffer {
  const bytes = codec.encode(codec.fromObject(plain)).finish();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Throws whatever protobufjs throws on bytes that are no such message. */
export function decodeMessage(codec: Codec, bytes: Uint8Array): object {
  return codec.toObject(codec.decode(bytes), PLAIN);
}
