import type { Clock } from '../../common/ports/index.ts';

/**
 * `uring`: a regular file (made with sizeBytes when absent) or a block device, io_uring with O_DIRECT.
 * `memory`: the same store on anonymous memory; gone with the process. `populate`: all of it is taken from the system at
 * once, or DRIVER_UNAVAILABLE; otherwise as it is first written.
 */
export type StoreDevice =
  | { readonly driver: 'uring'; readonly path: string; readonly sizeBytes: number }
  | { readonly driver: 'memory'; readonly sizeBytes: number; readonly populate?: boolean };

export type StoreOptions = {
  /** The process's slab; every offset of the port is into it. */
  readonly slab: ArrayBuffer;
  readonly device: StoreDevice;
  /** 16 bytes. */
  readonly clusterId: Uint8Array;
  readonly nodeId: string;
  /** A multiple of 4096, at least 64 KiB. Default: a 64th of the device as a power of two, 4 MiB to 256 MiB. */
  readonly segmentBytes?: number;
  /** 'if-blank': a device that reads blank is formatted. 'require-existing': it is refused. Never formats anything else. */
  readonly format: 'if-blank' | 'require-existing';
  readonly clock: Clock;
  /** How long tombstones are kept at least: the longest planned absence of a node. Default 14 days. */
  readonly tombstoneRetentionMs?: number;
  /** Operations in flight at most; one more is QUEUE_FULL. Default 4096. */
  readonly maxInFlight?: number;
};
