import { createRequire } from 'node:module';
import { fromNative, NabuError } from '../../common/errors/index.ts';

/** A kernel by name, or the fastest that this machine has. */
export type EcDriver = 'auto' | 'gfni' | 'avx2' | 'isal' | 'scalar';

export type DriverStatus = {
  readonly name: string;
  readonly available: boolean;
  /** What is missing, or why its self check failed; empty when it is available. */
  readonly reason: string;
};

type Callback<T> = (error: unknown, value: T) => void;

/** native/ec/binding/coder_object.h. Offsets and lengths are bytes from the start of the slab. */
export type NativeCoder = {
  readonly driver: string;
  encodeStripe(
    stripeOffset: number,
    shardLength: number,
    blobLength: number,
    crcs: Uint32Array,
    hash: Uint8Array,
  ): void;
  encodeStripeAsync(
    stripeOffset: number,
    shardLength: number,
    blobLength: number,
    crcs: Uint32Array,
    hash: Uint8Array,
    callback: Callback<undefined>,
  ): void;
  reconstruct(shardOffsets: Float64Array, presentMask: number, wantedMask: number, shardLength: number): void;
  reconstructAsync(
    shardOffsets: Float64Array,
    presentMask: number,
    wantedMask: number,
    shardLength: number,
    callback: Callback<undefined>,
  ): void;
  verify(shardOffsets: Float64Array, shardLength: number): number;
  verifyAsync(shardOffsets: Float64Array, shardLength: number, callback: Callback<number>): void;
};

type AnyBytes = ArrayBuffer | ArrayBufferView;

/** native/ec/binding/addon.cc. */
export type EcAddon = {
  readonly Coder: new (slab: ArrayBuffer, k: number, m: number, driver?: EcDriver) => NativeCoder;
  crc32c(bytes: AnyBytes, offset: number, length: number, crc?: number): number;
  crc32cBlocks(bytes: AnyBytes, offset: number, length: number, out: Uint32Array): void;
  verifyBlocks(bytes: AnyBytes, offset: number, length: number, crcs: Uint32Array): number;
  stripeHash(bytes: AnyBytes, offset: number, length: number, k: number, m: number, out: Uint8Array): void;
  drivers(): DriverStatus[];
  crc32cDrivers(): DriverStatus[];
  configureWorkers(threads: number, queueLimit: number): void;
};

const ADDON_PATH = '../../build/native/ec/ec.node';
let addon: EcAddon | undefined;

/** The addon as it is, its errors too. Throws DRIVER_UNAVAILABLE when it is not built. */
export function loadEc(): EcAddon {
  try {
    addon ??= createRequire(import.meta.url)(ADDON_PATH) as EcAddon;
    return addon;
  } catch (cause) {
    const reason = 'build/native/ec/ec.node does not load; `make build` builds it';
    throw NabuError.of('DRIVER_UNAVAILABLE', { port: 'erasure coding', driver: 'native', reason }, { cause });
  }
}

/** Calls into the addon with its errors turned into NabuErrors. */
export function nativeCall<T>(call: (ec: EcAddon) => T): T {
  const ec = loadEc();
  try {
    return call(ec);
  } catch (err) {
    throw fromNative(err);
  }
}
