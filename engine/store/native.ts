import { createRequire } from 'node:module';
import { fromNative, NabuError } from '../../common/errors/index.ts';

/** What an operation answers at once; the numbers of native/store/status.h. `pending`: the result comes later. */
export const STATUS = {
  ok: 0,
  exists: 1,
  deleted: 2,
  absent: 3,
  unknown: 4,
  corrupt: 5,
  pending: 6,
  fenced: 16,
  full: 17,
  failed: 18,
  readOnly: 19,
  badArgument: 20,
  outOfRange: 21,
  tooLarge: 22,
  checksum: 23,
  closed: 24,
  queueFull: 25,
} as const;

/** Triples (token, status, value) that fit the array which the addon fills before each call of onResults. */
export const RESULTS_PER_CALL = 1024;

export type NativeOptions = {
  readonly driver: 'uring' | 'memory';
  readonly path: string;
  readonly sizeBytes: number;
  readonly populate: boolean;
  readonly clusterId: Uint8Array;
  readonly nodeId: string;
  /** 0: by the size of the device. */
  readonly segmentBytes: number;
  readonly format: boolean;
  readonly tombstoneRetentionMs: number;
  readonly maxInFlight: number;
};

export type NativeIdentity = {
  readonly clusterId: Uint8Array;
  readonly nodeId: string;
  readonly deviceId: Uint8Array;
  readonly incarnation: bigint;
  readonly createdStamp: bigint;
  readonly completeSince: bigint;
  readonly fencesComplete: boolean;
};

export type NativeOwnerState = {
  readonly generation: bigint;
  readonly incarnation: bigint;
  readonly homeSetVersion: bigint;
  readonly noteVersion: bigint;
  readonly note: Uint8Array;
};

/** Each operation answers a number of STATUS. Offsets are into the slab. */
export type NativeShardStore = {
  append(token: number, metaOffset: number, payloadOffset: number): number;
  read(
    token: number,
    key: Uint8Array,
    stripeId: Uint8Array | null,
    shardIndex: number,
    rangeOffset: number,
    rangeLength: number,
    askStamp: bigint,
    payloadOffset: number,
    payloadCapacity: number,
    metaOutOffset: number,
  ): number;
  /** Fills in meta and [offset in memory(), length in bytes, id for endView] when it answers ok. Never pending. */
  view(
    key: Uint8Array,
    stripeId: Uint8Array | null,
    shardIndex: number,
    rangeOffset: number,
    rangeLength: number,
    askStamp: bigint,
    meta: Uint8Array,
    out: Float64Array,
  ): number;
  endView(id: number): void;
  /** The device, if it is memory. To be read only. */
  memory(): ArrayBuffer | null;
  /** Bytes written to `out`, or minus the bytes it would take. */
  lookup(keys: Uint8Array, askStamp: bigint, out: Uint8Array): number;
  remove(token: number, key: Uint8Array, stamp: bigint): number;
  /** [stamp, hasGeneration, generation, hasIncarnation, incarnation, from, to, pin from, pin to, ...] */
  removeOwnerRange(token: number, owner: Uint8Array, range: BigUint64Array): number;
  /** [generation, incarnation, homeSetVersion, hasNoteVersion, noteVersion] */
  setOwner(token: number, owner: Uint8Array, update: BigUint64Array, note: Uint8Array | null): number;
  getOwner(owner: Uint8Array): NativeOwnerState | null;
  fenceOf(owner: Uint8Array): [bigint, bigint];
  listOwners(after: Uint8Array | null, limit: number): [Uint8Array, NativeOwnerState][];
  markDegraded(token: number, key: Uint8Array, stripeId: Uint8Array, missingMask: number): number;
  listDegraded(
    key: Uint8Array | null,
    stripeId: Uint8Array | null,
    limit: number,
  ): { key: Uint8Array; stripeId: Uint8Array; missingMask: number }[];
  setFencesComplete(token: number): number;
  setCompleteSince(token: number, stamp: bigint): number;
  checkpoint(token: number): number;
  close(token: number): number;
  identity(): NativeIdentity;
  stats(): Record<string, unknown>;
  /** The field that the last badArgument was about. */
  detail(): string;
};

type StoreAddon = {
  Store: new (
    slab: ArrayBuffer,
    options: NativeOptions,
    clockMs: Float64Array,
    results: Int32Array,
    onResults: (count: number) => void,
  ) => NativeShardStore;
};

const ADDON_PATH = '../../build/native/store/store.node';
let addon: StoreAddon | undefined;

function load(): StoreAddon {
  try {
    addon ??= createRequire(import.meta.url)(ADDON_PATH) as StoreAddon;
    return addon;
  } catch (cause) {
    const reason = 'build/native/store/store.node does not load; `make build` builds it';
    throw NabuError.of('DRIVER_UNAVAILABLE', { port: 'store', driver: 'native', reason }, { cause });
  }
}

/**
 * Opens, replays, and blocks until that is done. Throws DEVICE_FOREIGN, DEVICE_FAILED, FORMAT_UNKNOWN,
 * FAILED_PRECONDITION (blank and not to be formatted, or open elsewhere), DRIVER_UNAVAILABLE, INVALID_ARGUMENT.
 */
export function openNative(
  slab: ArrayBuffer,
  options: NativeOptions,
  clockMs: Float64Array,
  results: Int32Array,
  onResults: (count: number) => void,
): NativeShardStore {
  const { Store } = load();
  try {
    return new Store(slab, options, clockMs, results, onResults);
  } catch (err) {
    throw fromNative(err);
  }
}
