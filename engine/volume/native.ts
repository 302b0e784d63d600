import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isErrorCode, NabuError } from '../../common/errors/index.ts';

// The native core of a volume (native/volume): FUSE loop, shared-memory write ring, extent map, read cache and the building
// and parsing of log-blob images. Everything here counts in blocks of 4096 bytes; sequences are bigint (48 bits are used).
//
// Life of one volume:
//   new NativeVolume -> [loadRoot] -> resumeJournal -> applyImage* -> claimJournal -> reapplyRing -> start -> (seal/put/commit, fetch/fetched,
//   beginCheckpoint/nextCheckpointImage/put/commit, stageClean/cleanImage/put/commit, deletable/forget)* -> close
//
// Rules of the log that the core relies on:
//   * Sequences are handed out by the caller, strictly rising, one per image, whatever kind of image it is.
//   * commit() is called in the order of sequences, after the image is durable and every image before it is.
//   * Images are applied to the map in that order too, live and at replay alike, so both give the same map.

export const VOLUME_BLOCK = 4096;
/** Largest log-blob image that seal, nextCheckpointImage and cleanImage build, and the least `maxBytes` they accept. */
export const MAX_IMAGE_BYTES = 4 * 1024 * 1024;
export const MIN_IMAGE_BYTES = 64 * 1024;

export type VolumeFrontend =
  /**
   * Requests come from the kernel through a mounted /dev/fuse whose INIT the keeper has answered. The volume dups what it keeps.
   * scratchFd: a memfd of at least scratchBytes(), whose pages are there already; without it they are taken anew.
   */
  | { readonly kind: 'fuse'; readonly fuseFd: number; readonly ringFd: number; readonly scratchFd?: number }
  /** Requests come from directRead and its siblings; for tests and the simulator. `ringFd` comes from createRing. */
  | { readonly kind: 'direct'; readonly ringFd: number };

export type NativeVolumeOptions = {
  /** 32 lower-case hex digits; the ring and every image must carry the same id. */
  readonly volumeId: string;
  /** A multiple of 4096, at most 2^48. */
  readonly sizeBytes: number;
  readonly frontend: VolumeFrontend;
  /** Memory of the read cache; taken and locked up front. Default 64 MiB. */
  readonly readCacheBytes?: number;
  /** Memory of map pages; dirty ones count, so this also bounds the work between two checkpoints. Default 64 MiB. */
  readonly mapCacheBytes?: number;
  /** After how long a waiting read, write or flush is answered with EIO; 0 (default) = it waits for ever. Changed by setIoTimeout. */
  readonly ioTimeoutMs?: number;
  /** Threads that read /dev/fuse. Default 2. */
  readonly threads?: number;
  /** Unsealed bytes at which a seal is wanted at once. Default 4 MiB less room for the header, so that one image holds them. */
  readonly sealBytes?: number;
  readonly readOnly?: boolean;
};

/** What the caller says about an image that is being built; goes into the image's header as it is. */
export type ImagePosition = {
  readonly generation: bigint;
  readonly incarnation: bigint;
  readonly sequence: bigint;
  readonly previousGeneration: bigint;
  readonly previousIncarnation: bigint;
  /** Sequence of the image that carries the newest durable root; 0n = none yet. */
  readonly checkpointSequence: bigint;
};

export type ImageHeader = ImagePosition & {
  readonly volumeId: string;
  /** 'log' = writes and trims, 'checkpoint' = map and usage pages (and the root in the last one), 'clean' = copy-if-at. */
  readonly kind: 'log' | 'checkpoint' | 'clean';
  readonly hasRoot: boolean;
  readonly entryCount: number;
  readonly payloadBlocks: number;
  /** Blocks of header and entries; the payload follows. */
  readonly headerBlocks: number;
  readonly imageBytes: number;
  /** Size of the volume when the image was built. */
  readonly volumeSizeBytes: number;
};

export type SealedImage = {
  /** Bytes of the image, a multiple of 4096; what lies behind it in the slot is not touched. */
  readonly length: number;
  readonly payloadBlocks: number;
  readonly entryCount: number;
  /** More unsealed writes are waiting: call seal again for the next sequence. */
  readonly more: boolean;
};

export type CheckpointImage = { readonly length: number; readonly payloadBlocks: number; readonly last: boolean };

export type RootRecord = {
  /** Every image up to and including this sequence is contained in the checkpoint; replay applies those above it. */
  readonly coveredSequence: bigint;
  readonly sizeBytes: number;
  /** Log blobs that the usage tree knows (live ones and dead ones that are not yet deleted). */
  readonly knownSequences: number;
};

/** images: pairs of sequence and length in bytes; all that is history up to throughSequence, tables of epochs aside. */
export type ResumedJournal = { readonly throughSequence: bigint; readonly images: Float64Array };

export type Victim = { readonly sequence: bigint; readonly liveBlocks: number; readonly totalBlocks: number };

export type VolumeEvent =
  /**
   * first: the first write, and the first after each watchWrites(): arm the seal timer. flush: somebody waits for durability: seal
   * now. bytes: sealBytes are pending: seal now. space: writes wait for ring space: seal now. Repeated only after a seal() call.
   */
  | {
      readonly type: 'seal-wanted';
      readonly reason: 'first' | 'flush' | 'bytes' | 'space';
      readonly pendingBytes: number;
    }
  /**
   * Blocks [block, block + count) of the image `sequence` are needed; answer with fetched(id, ...). `block` counts from the
   * start of the image, header included. prefetch: nobody waits for it yet (read-ahead): it may be answered with an error.
   */
  | {
      readonly type: 'fetch';
      readonly id: number;
      readonly sequence: bigint;
      readonly block: number;
      readonly count: number;
      readonly prefetch: boolean;
    }
  /** Half of the map cache is dirty (or all of it: commits are not applied any more until a checkpoint is made). */
  | { readonly type: 'checkpoint-wanted'; readonly dirtyPages: number; readonly blocked: boolean }
  /** The kernel has closed the FUSE connection (umount, abort); no request will come any more. */
  | { readonly type: 'frontend-closed'; readonly errno: number };

export type NativeVolumeStats = {
  readonly sizeBytes: number;
  readonly reads: number;
  readonly writes: number;
  readonly flushes: number;
  readonly trims: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Blocks answered from the ring, from the cache, as holes, and after a fetch. */
  readonly ringBlocks: number;
  readonly cacheBlocks: number;
  readonly holeBlocks: number;
  readonly missBlocks: number;
  readonly prefetchedBlocks: number;
  readonly fetchesInFlight: number;
  /** Requests that wait now, and for how long the oldest one has. */
  readonly waitingReads: number;
  readonly waitingWrites: number;
  readonly waitingFlushes: number;
  readonly oldestWaitMs: number;
  readonly timedOut: number;
  readonly ioErrors: number;
  /** Requests seen again after a server restart: all, and those whose effect was in the ring already. */
  readonly resent: number;
  readonly resentDone: number;
  readonly ringBytes: number;
  readonly ringUsedBytes: number;
  /** In the ring and in no image yet. */
  readonly unsealedBytes: number;
  readonly imagesInFlight: number;
  readonly committedSequence: bigint;
  readonly appliedSequence: bigint;
  /** Newest durable root: the sequence of its image and what it covers; 0n = none. */
  readonly checkpointSequence: bigint;
  readonly coveredSequence: bigint;
  readonly mapPages: number;
  readonly dirtyPages: number;
  readonly cacheCapacityBlocks: number;
  readonly cacheUsedBlocks: number;
  /** Over all log blobs that are not forgotten: blocks that the map points at, and payload blocks. Ratio = space amplification. */
  readonly liveBlocks: number;
  readonly totalBlocks: number;
  readonly knownSequences: number;
};

/** Errors a fetch can be answered with: EIO for proven loss (the reader gets it), EAGAIN to have the fetch asked for again. */
export type FetchStatus = 'ok' | 'lost' | 'retry';

export interface NativeVolume {
  /**
   * Loads the checkpoint root from its image (a 'checkpoint' image with hasRoot) and the whole usage tree, which it asks for
   * by 'fetch' events. Only before anything else. LOG_IMAGE_INVALID when the image is not that.
   * The slab range must stay untouched until the promise settles.
   */
  loadRoot(slabOffset: number, length: number): Promise<RootRecord>;

  /**
   * After loadRoot, before any applyImage: applies what shared memory still has of the images above the root, which a server of this
   * ring committed. Only when `last`, the epoch whose opening the newest note names last, is the one that claimed the journal: then
   * nobody wrote history since. Otherwise it is emptied, and all images have to be read. May ask for map pages by 'fetch' events.
   */
  resumeJournal(lastGeneration: bigint, lastIncarnation: bigint): Promise<ResumedJournal>;
  /** What is in the journal, and all that follows, is the history of this epoch. Once its open record is durable. */
  claimJournal(generation: bigint, incarnation: bigint): void;

  /**
   * Replays one durable image; images above coveredSequence, in order, without a gap in what was accepted. May ask for map
   * pages by 'fetch' events. Calls may overlap; they are applied in the order of the calls. The slab range may be reused
   * as soon as the call returns.
   */
  applyImage(slabOffset: number, length: number): Promise<void>;

  /** Takes over what the ring holds (completed by an earlier server, not known to be durable). Once, after replay. */
  reapplyRing(): { readonly entries: number; readonly bytes: number };

  /** Begins to answer requests: asks the kernel to send unanswered ones again, then serves. direct: opens the direct calls. */
  start(): void;

  /** Bytes that no image has. */
  unsealedBytes(): number;
  /** The next write is announced with 'first', once. Returns the unsealed bytes there are already: those may not be announced. */
  watchWrites(): number;

  /**
   * Builds the next image from unsealed writes into slab[slabOffset, +maxBytes); null when there are none. The ring keeps
   * the data until commit. At most 64 images in flight (FAILED_PRECONDITION above).
   */
  seal(slabOffset: number, maxBytes: number, position: ImagePosition): SealedImage | null;

  /**
   * The image `sequence` is durable and so is every one before it. Answers the flushes that waited for it, frees ring space.
   * Must name the oldest image in flight. Committing the image with a root completes its checkpoint.
   */
  commit(sequence: bigint): void;

  /** Answers a 'fetch': 'ok' = the blocks lie at slabOffset (reusable when the call returns). */
  fetched(id: number, slabOffset: number, status: FetchStatus): void;

  /** Freezes the map as of the last applied image; false when nothing changed since the last checkpoint. One at a time. */
  beginCheckpoint(): boolean;
  /** Openers begin with the last checkpoint from now on: shared memory need not keep what it covers. */
  checkpointPublished(): void;
  /** Next image of the running checkpoint. Put it and commit it like any other; the one with last = true carries the root. */
  nextCheckpointImage(slabOffset: number, maxBytes: number, position: ImagePosition): CheckpointImage;

  /**
   * Log blobs worth cleaning, emptiest first: covered by the last durable checkpoint, with something live in them, and
   * liveBlocks / totalBlocks <= utilisation or (small and) at most smallBlocks payload blocks (0 = ignore size).
   */
  pickVictims(max: number, utilisation: number, smallBlocks?: number): Victim[];
  /**
   * Takes the blocks of a victim's whole image that the map still points at into the staging area (at most 8 MiB,
   * RESOURCE_EXHAUSTED when they do not fit: call cleanImage first), and marks map pages in it for the next checkpoint.
   * The slab range must stay untouched until the promise settles.
   */
  stageClean(
    slabOffset: number,
    length: number,
  ): Promise<{ readonly stagedBlocks: number; readonly totalStagedBlocks: number }>;
  /** Builds a 'clean' image from what is staged; null when nothing is. Put it and commit it like any other. */
  cleanImage(slabOffset: number, maxBytes: number, position: ImagePosition): SealedImage | null;

  /** Sequences with nothing live as of the last durable checkpoint: their blobs can be deleted. Named until forgotten. */
  deletable(max: number): bigint[];
  /** These blobs are deleted for good. */
  forget(sequences: readonly bigint[]): void;

  /** Grows the volume; a smaller size is refused (INVALID_ARGUMENT). The keeper's resizeLoop makes the kernel look again. */
  resize(sizeBytes: number): void;
  setIoTimeout(timeoutMs: number): void;
  /**
   * Every request that waits and every later one gets an I/O error, for good: a writer that is fenced must not serve what may be
   * out of date.
   */
  fail(): void;
  stats(): NativeVolumeStats;

  /**
   * Stops answering; requests in flight stay unanswered in the kernel (a later server gets them again), direct ones are
   * rejected with ABORTED. Ring data stays in the memfd. Idempotent. Every other call then throws FAILED_PRECONDITION.
   */
  close(): Promise<void>;

  // Frontend 'direct'. Offsets and lengths are bytes of the volume; slab ranges must stay untouched until the promise settles.
  // Multiples of 4096, reads and writes of at most 1 MiB. Reject with VOLUME_IO on an I/O error.
  directRead(offset: number, length: number, slabOffset: number): Promise<void>;
  directWrite(offset: number, length: number, slabOffset: number): Promise<void>;
  directTrim(offset: number, length: number): Promise<void>;
  /** Resolves when everything completed before is committed. */
  directFlush(): Promise<void>;
}

type RawOptions = {
  volumeId: string;
  sizeBytes: number;
  kind: 'fuse' | 'direct';
  fuseFd: number;
  ringFd: number;
  scratchFd: number;
  readCacheBytes: number;
  mapCacheBytes: number;
  ioTimeoutMs: number;
  threads: number;
  sealBytes: number;
  readOnly: boolean;
};

/** events: rows of EVENT_FIELDS doubles in one array that native code reuses; `rows` of them are valid during the call. */
type RawEvents = (events: Float64Array, rows: number) => void;

type VolumeAddon = {
  /** Native code throws and rejects with what this makes. */
  setErrorFactory(make: (code: string, fields: Record<string, string | number>) => Error): void;
  readonly Volume: new (slab: ArrayBuffer, options: RawOptions, events: RawEvents) => NativeVolume;
  createRing(volumeId: string, ringBytes: number): number;
  closeFd(fd: number): void;
  scratchBytes(readCacheBytes: number): number;
  readImageHeader(slab: ArrayBuffer, slabOffset: number, length: number): ImageHeader;
  readonly KeeperConnection: new (
    socketPath: string,
    onMessage: (json: string, fds: number[]) => void,
    onClosed: (reason: string) => void,
  ) => RawKeeperConnection;
};

/** One connection to a keeper; keeper-client.ts speaks over it. Descriptors that arrive belong to whoever gets them. */
export type RawKeeperConnection = {
  /** One JSON message of at most 64 KiB. */
  send(json: string): void;
  close(): void;
};

const addonPath = fileURLToPath(new URL('../../build/native/volume/volume.node', import.meta.url));
/** The program that holds a slot's volumes in the kernel (native/volume/keeper). */
export const KEEPER_PROGRAM = fileURLToPath(new URL('../../build/native/volume/nabu-keeper', import.meta.url));
let loaded: VolumeAddon | undefined;

/** Loads native/volume once. DRIVER_UNAVAILABLE when it has not been built. */
export function volumeAddon(): VolumeAddon {
  if (loaded === undefined) {
    try {
      const addon = createRequire(import.meta.url)(addonPath) as VolumeAddon;
      addon.setErrorFactory((code, fields) =>
        isErrorCode(code) ? NabuError.revive(code, fields) : new Error(`${code}: ${JSON.stringify(fields)}`),
      );
      loaded = addon;
    } catch (err) {
      throw NabuError.of(
        'DRIVER_UNAVAILABLE',
        {
          port: 'native',
          driver: 'volume',
          reason: 'build/native/volume/volume.node does not load; `make build` builds it',
        },
        { cause: err },
      );
    }
  }
  return loaded;
}

const EVENT_FIELDS = 6;
const SEAL_REASONS = ['first', 'flush', 'bytes', 'space'] as const;

function decodeEvent(row: Float64Array, at: number): VolumeEvent {
  const field = (index: number): number => row[at + index] ?? 0;
  switch (field(0)) {
    case 1:
      return { type: 'seal-wanted', reason: SEAL_REASONS[field(1)] ?? 'first', pendingBytes: field(2) };
    case 2:
      return {
        type: 'fetch',
        id: field(1),
        sequence: BigInt(field(2)),
        block: field(3),
        count: field(4),
        prefetch: field(5) !== 0,
      };
    case 3:
      return { type: 'checkpoint-wanted', dirtyPages: field(1), blocked: field(2) !== 0 };
    default:
      return { type: 'frontend-closed', errno: field(1) };
  }
}

/**
 * Opens the native side of a volume. `onEvents` is called on the JavaScript thread with batches, never from inside a call
 * into the volume. Throws INVALID_ARGUMENT naming the field, or FORMAT_UNKNOWN / FAILED_PRECONDITION for a ring of another
 * layout or volume.
 */
export function openNativeVolume(
  slab: ArrayBuffer,
  options: NativeVolumeOptions,
  onEvents: (events: VolumeEvent[]) => void,
): NativeVolume {
  const { frontend } = options;
  const raw: RawOptions = {
    volumeId: options.volumeId,
    sizeBytes: options.sizeBytes,
    kind: frontend.kind,
    fuseFd: frontend.kind === 'fuse' ? frontend.fuseFd : -1,
    ringFd: frontend.ringFd,
    scratchFd: frontend.kind === 'fuse' ? (frontend.scratchFd ?? -1) : -1,
    readCacheBytes: options.readCacheBytes ?? 64 * 1024 * 1024,
    mapCacheBytes: options.mapCacheBytes ?? 64 * 1024 * 1024,
    ioTimeoutMs: options.ioTimeoutMs ?? 0,
    threads: options.threads ?? 2,
    sealBytes: options.sealBytes ?? MAX_IMAGE_BYTES - 9 * VOLUME_BLOCK,
    readOnly: options.readOnly ?? false,
  };
  return new (volumeAddon().Volume)(slab, raw, (rows, count) => {
    const events: VolumeEvent[] = [];
    for (let i = 0; i < count; i++) events.push(decodeEvent(rows, i * EVENT_FIELDS));
    onEvents(events);
  });
}

/** Parses and checks the header and entries of an image. LOG_IMAGE_INVALID when it is not one, FORMAT_UNKNOWN for a newer version. */
export function readImageHeader(slab: ArrayBuffer, slabOffset: number, length: number): ImageHeader {
  return volumeAddon().readImageHeader(slab, slabOffset, length);
}

/** A fresh write ring in a memfd, for the frontend 'direct' (the keeper makes those of real volumes). Close it with closeFd. */
export function createRing(volumeId: string, ringBytes: number): number {
  return volumeAddon().createRing(volumeId, ringBytes);
}

/** Memory that a volume with such a read cache takes and whose content means nothing to the next server. */
export function scratchBytes(readCacheBytes: number): number {
  return volumeAddon().scratchBytes(readCacheBytes);
}

export function closeFd(fd: number): void {
  volumeAddon().closeFd(fd);
}
