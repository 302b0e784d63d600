import { abortError } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { BLOCK_BYTES } from '../blob/index.ts';
import { Buddy } from './buddy.ts';
import { allocateRegion, type HugePages } from './native.ts';
import { Slot } from './slot.ts';

export type SlabOptions = {
  /** Rounded up to whole blocks. */
  readonly sizeBytes: number;
  readonly hugePages?: HugePages;
  /** mlock, or PERMISSION_DENIED. */
  readonly lock?: boolean;
  /** Memory that others keep, a memfd of at least sizeBytes: it is there already, and outlives this process. */
  readonly memoryFd?: number;
  /** How many may wait in allocWait; one more is refused with QUEUE_FULL. */
  readonly maxWaiters?: number;
};

type Waiter = { readonly lengthBytes: number; readonly grant: (slot: Slot) => void };

const DEFAULT_MAX_WAITERS = 4096;

/** What ends a wait: a Deadline, or anything else with a signal. */
export type Until = { readonly signal: AbortSignal };

/**
 * The one pinned region of a process: every buffer that a device, a socket or the coder touches is a slot of it, named by
 * its offset.
 */
export class Slab {
  readonly buffer: ArrayBuffer;
  readonly sizeBytes: number;
  readonly pageSizeBytes: number;
  readonly #buddy: Buddy;
  readonly #maxWaiters: number;
  /** In order of arrival; a Set gives both FIFO and O(1) withdrawal. */
  readonly #waiters = new Set<Waiter>();
  #slots = 0;

  private constructor(buffer: ArrayBuffer, pageSizeBytes: number, maxWaiters: number) {
    this.buffer = buffer;
    this.sizeBytes = buffer.byteLength;
    this.pageSizeBytes = pageSizeBytes;
    this.#buddy = new Buddy(buffer.byteLength);
    this.#maxWaiters = maxWaiters;
  }

  /** Throws RESOURCE_EXHAUSTED when the machine has no such memory, PERMISSION_DENIED for a lock it does not grant. */
  static create(options: SlabOptions): Slab {
    const lengthBytes = Math.ceil(options.sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
    const region = allocateRegion(lengthBytes, {
      hugePages: options.hugePages ?? 'try',
      lock: options.lock ?? false,
      ...(options.memoryFd === undefined ? {} : { memoryFd: options.memoryFd }),
    });
    return new Slab(region.buffer, region.pageSizeBytes, options.maxWaiters ?? DEFAULT_MAX_WAITERS);
  }

  get freeBytes(): number {
    return this.#buddy.freeBytes;
  }

  get slots(): number {
    return this.#slots;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** A slot now, or RESOURCE_EXHAUSTED. Does not queue behind those who wait. */
  alloc(lengthBytes: number): Slot {
    const slot = this.tryAlloc(lengthBytes);
    if (slot !== undefined) return slot;
    throw NabuError.of('RESOURCE_EXHAUSTED', {
      resource: 'slab memory',
      reason: `${lengthBytes} bytes in one piece are wanted, ${this.freeBytes} of ${this.sizeBytes} are free`,
    });
  }

  tryAlloc(lengthBytes: number): Slot | undefined {
    this.#check(lengthBytes);
    const offset = this.#buddy.take(lengthBytes);
    if (offset < 0) return undefined;
    this.#slots++;
    return new Slot(this, offset, lengthBytes);
  }

  /** First come, first served. Throws QUEUE_FULL, or what ended the wait (TIMEOUT, CANCELLED). */
  async allocWait(lengthBytes: number, until: Until): Promise<Slot> {
    this.#check(lengthBytes);
    if (until.signal.aborted) throw abortError(until.signal, 'waiting for slab memory');
    const slot = this.#waiters.size === 0 ? this.tryAlloc(lengthBytes) : undefined;
    if (slot !== undefined) return slot;
    if (this.#waiters.size >= this.#maxWaiters) {
      throw NabuError.of('QUEUE_FULL', { queue: 'slab memory', limit: this.#maxWaiters });
    }
    return await this.#wait(lengthBytes, until.signal);
  }

  #wait(lengthBytes: number, signal: AbortSignal): Promise<Slot> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters.delete(waiter);
        reject(abortError(signal, 'waiting for slab memory'));
        this.#serveWaiters(); // what stood behind a large request may fit
      };
      const waiter: Waiter = {
        lengthBytes,
        grant: (slot) => {
          signal.removeEventListener('abort', onAbort);
          resolve(slot);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  /** Called by a slot when its last holder let go. */
  reclaim(slot: Slot): void {
    this.#buddy.give(slot.offset, slot.lengthBytes);
    this.#slots--;
    if (this.#waiters.size > 0) this.#serveWaiters();
  }

  #serveWaiters(): void {
    for (const waiter of this.#waiters) {
      const slot = this.tryAlloc(waiter.lengthBytes);
      if (slot === undefined) return;
      this.#waiters.delete(waiter);
      waiter.grant(slot);
    }
  }

  #check(lengthBytes: number): void {
    if (Number.isSafeInteger(lengthBytes) && lengthBytes > 0 && lengthBytes <= this.sizeBytes) return;
    throw NabuError.of('INVALID_ARGUMENT', {
      field: 'lengthBytes',
      reason: `${lengthBytes} is not in 1..${this.sizeBytes}`,
    });
  }
}
