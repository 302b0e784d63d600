import { createRequire } from 'node:module';
import { fromNative, NabuError } from '../../common/errors/index.ts';

/** no: base pages. try: 2 MiB pages when the pool has enough, else base pages. require: 2 MiB pages or an error. */
export type HugePages = 'no' | 'try' | 'require';

export type Region = {
  readonly buffer: ArrayBuffer;
  readonly pageSizeBytes: number;
  readonly locked: boolean;
};

export type RegionOptions = {
  readonly hugePages: HugePages;
  readonly lock: boolean;
  /** A memfd of at least that length to map instead; it stays the caller's. */
  readonly memoryFd?: number;
};

type SlabAddon = {
  allocate(lengthBytes: number, options: RegionOptions): Region;
};

const ADDON_PATH = '../../build/native/slab/slab.node';
let addon: SlabAddon | undefined;

function load(): SlabAddon {
  try {
    addon ??= createRequire(import.meta.url)(ADDON_PATH) as SlabAddon;
    return addon;
  } catch (cause) {
    const reason = 'build/native/slab/slab.node does not load; `make build` builds it';
    throw NabuError.of('DRIVER_UNAVAILABLE', { port: 'slab', driver: 'native', reason }, { cause });
  }
}

/**
 * Anonymous memory, or that of a memfd, mapped and faulted in. Throws RESOURCE_EXHAUSTED (memory, huge pages), PERMISSION_DENIED (lock),
 * INVALID_ARGUMENT, DRIVER_UNAVAILABLE (not built).
 */
export function allocateRegion(lengthBytes: number, options: RegionOptions): Region {
  const native = load();
  try {
    return native.allocate(lengthBytes, options);
  } catch (err) {
    throw fromNative(err);
  }
}
