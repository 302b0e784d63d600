import { BLOCK_BYTES } from '../blob/index.ts';

const NONE = -1;
const NOT_FREE = -1;

/**
 * Pages of a slab handed out as contiguous runs: a binary buddy (Knowlton, 1965) that gives the tail of a power of two
 * back at once, so that a run of n pages costs n pages. All state is in typed arrays: nothing here makes garbage.
 *
 * Invariant: every page is in exactly one free block (whose head has its order in #orderAt) or in one allocated run.
 */
export class Buddy {
  readonly #pages: number;
  readonly #maxOrder: number;
  /** First free block of each order. */
  readonly #head: Int32Array;
  readonly #next: Int32Array;
  readonly #prev: Int32Array;
  /** Order of the free block that begins at this page, else NOT_FREE. */
  readonly #orderAt: Int8Array;
  #freePages = 0;

  constructor(lengthBytes: number) {
    this.#pages = Math.floor(lengthBytes / BLOCK_BYTES);
    this.#maxOrder = Math.floor(Math.log2(Math.max(1, this.#pages)));
    this.#head = new Int32Array(this.#maxOrder + 1).fill(NONE);
    this.#next = new Int32Array(this.#pages).fill(NONE);
    this.#prev = new Int32Array(this.#pages).fill(NONE);
    this.#orderAt = new Int8Array(this.#pages).fill(NOT_FREE);
    this.#giveBack(0, this.#pages);
  }

  get freeBytes(): number {
    return this.#freePages * BLOCK_BYTES;
  }

  /** Byte offset of a run of whole blocks that holds `lengthBytes`, or -1. */
  take(lengthBytes: number): number {
    const pages = Math.ceil(lengthBytes / BLOCK_BYTES);
    const order = pages <= 1 ? 0 : 32 - Math.clz32(pages - 1);
    for (let from = order; from <= this.#maxOrder; from++) {
      const page = this.#head[from] ?? NONE;
      if (page === NONE) continue;
      this.#unlink(page, from);
      this.#freePages -= 1 << from;
      this.#giveBack(page + pages, page + (1 << from));
      return page * BLOCK_BYTES;
    }
    return NONE;
  }

  /** Takes back what `take` gave: the same offset and length. */
  give(offset: number, lengthBytes: number): void {
    const first = offset / BLOCK_BYTES;
    this.#giveBack(first, first + Math.ceil(lengthBytes / BLOCK_BYTES));
  }

  /** Frees the pages [from, to) as the largest aligned blocks they hold. */
  #giveBack(from: number, to: number): void {
    this.#freePages += to - from;
    let page = from;
    while (page < to) {
      const aligned = page === 0 ? this.#maxOrder : 31 - Math.clz32(page & -page);
      const order = Math.min(aligned, 31 - Math.clz32(to - page), this.#maxOrder);
      this.#insert(page, order);
      page += 1 << order;
    }
  }

  #insert(page: number, order: number): void {
    while (order < this.#maxOrder) {
      const buddy = page ^ (1 << order);
      if (buddy >= this.#pages || this.#orderAt[buddy] !== order) break;
      this.#unlink(buddy, order);
      page = Math.min(page, buddy);
      order++;
    }
    const second = this.#head[order] ?? NONE;
    this.#orderAt[page] = order;
    this.#next[page] = second;
    this.#prev[page] = NONE;
    if (second !== NONE) this.#prev[second] = page;
    this.#head[order] = page;
  }

  #unlink(page: number, order: number): void {
    const before = this.#prev[page] ?? NONE;
    const after = this.#next[page] ?? NONE;
    if (before === NONE) this.#head[order] = after;
    else this.#next[before] = after;
    if (after !== NONE) this.#prev[after] = before;
    this.#orderAt[page] = NOT_FREE;
  }
}
