import { ints, longer } from './longer.ts';

/** The number of a name while anything refers to it; used again afterwards. */
export type Slot = number;
export const NO_SLOT: Slot = -1;

const TOMBSTONE = -1;

/** FNV-1a, 32 bit (Fowler, Noll, Vo). */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  return hash >>> 0;
}

/**
 * Names of nodes as small numbers, found by text or straight from the bytes of a request: 5,000 names become numbers without one
 * string being made. A name is counted by those who refer to it and forgotten when nobody does.
 */
export class NameTable {
  readonly #slots = new Map<string, Slot>();
  readonly #names: (string | undefined)[] = [];
  readonly #refs: number[] = [];
  readonly #free: Slot[] = [];
  /** All names one after another, so that 5,000 of them are compared without 5,000 objects being visited. */
  #pool = new Uint8Array(64 << 10);
  #poolUsed = 0;
  #poolWasted = 0;
  #nameFrom = new Int32Array(1024);
  #nameLength = new Int32Array(1024);
  /** Open addressing, linear probing: slot + 1, 0 where nothing ever was. */
  #buckets = new Int32Array(1024);
  #used = 0;
  #version = 0;

  /** One more than the greatest slot ever given. */
  get limit(): number {
    return this.#names.length;
  }

  /** Changes with each name that gets a slot or loses it. */
  get version(): number {
    return this.#version;
  }

  get size(): number {
    return this.#slots.size;
  }

  /** Counts one more reference. */
  acquire(name: string): Slot {
    const known = this.#slots.get(name);
    if (known !== undefined) {
      this.#refs[known] = (this.#refs[known] ?? 0) + 1;
      return known;
    }
    const slot = this.#free.pop() ?? this.#names.length;
    this.#version++;
    this.#names[slot] = name;
    this.#refs[slot] = 1;
    this.#keepBytes(slot, name);
    this.#slots.set(name, slot);
    if ((this.#used + 1) * 2 > this.#buckets.length) this.#rebuild();
    else this.#insert(slot);
    return slot;
  }

  release(slot: Slot): void {
    const refs = (this.#refs[slot] ?? 0) - 1;
    this.#refs[slot] = refs;
    const name = this.#names[slot];
    if (refs > 0 || name === undefined) return;
    this.#version++;
    this.#remove(slot);
    this.#slots.delete(name);
    this.#names[slot] = undefined;
    this.#poolWasted += this.#nameLength[slot] ?? 0;
    this.#nameLength[slot] = 0;
    this.#free.push(slot);
  }

  find(name: string): Slot {
    return this.#slots.get(name) ?? NO_SLOT;
  }

  /**
   * The slot of the name that is the bytes [from, to), else NO_SLOT. `hint`: a slot that it may well be, at the cost of one
   * comparison: schedulers name nodes in the same order every time.
   */
  findBytes(bytes: Uint8Array, from: number, to: number, hint: Slot = NO_SLOT): Slot {
    if (hint >= 0 && this.#is(hint, bytes, from, to)) return hint;
    const buckets = this.#buckets;
    const mask = buckets.length - 1;
    for (let at = hashOf(bytes, from, to) & mask; ; at = (at + 1) & mask) {
      const entry = buckets[at] ?? 0;
      if (entry === 0) return NO_SLOT;
      if (entry !== TOMBSTONE && this.#is(entry - 1, bytes, from, to)) return entry - 1;
    }
  }

  nameOf(slot: Slot): string {
    return this.#names[slot] ?? '';
  }

  /** Names differ at their ends more than at their beginnings. */
  #is(slot: Slot, bytes: Uint8Array, from: number, to: number): boolean {
    const length = this.#nameLength[slot] ?? 0;
    if (length !== to - from || length === 0) return false;
    const pool = this.#pool;
    let at = (this.#nameFrom[slot] ?? 0) + length - 1;
    for (let read = to - 1; read >= from; read--, at--) if (pool[at] !== bytes[read]) return false;
    return true;
  }

  #keepBytes(slot: Slot, name: string): void {
    const bytes = Buffer.from(name);
    if (slot >= this.#nameFrom.length) {
      this.#nameFrom = longer(this.#nameFrom, ints);
      this.#nameLength = longer(this.#nameLength, ints);
    }
    if (this.#poolUsed + bytes.length > this.#pool.length) this.#repool(bytes.length);
    this.#pool.set(bytes, this.#poolUsed);
    this.#nameFrom[slot] = this.#poolUsed;
    this.#nameLength[slot] = bytes.length;
    this.#poolUsed += bytes.length;
  }

  /** Without the bytes of names that are gone, and with room for further ones. */
  #repool(further: number): void {
    const needed = this.#poolUsed - this.#poolWasted + further;
    const pool = new Uint8Array(Math.max(this.#pool.length, needed * 2));
    let used = 0;
    for (const slot of this.#slots.values()) {
      const from = this.#nameFrom[slot] ?? 0;
      const length = this.#nameLength[slot] ?? 0;
      pool.set(this.#pool.subarray(from, from + length), used);
      this.#nameFrom[slot] = used;
      used += length;
    }
    this.#pool = pool;
    this.#poolUsed = used;
    this.#poolWasted = 0;
  }

  #hashOf(slot: Slot): number {
    const from = this.#nameFrom[slot] ?? 0;
    return hashOf(this.#pool, from, from + (this.#nameLength[slot] ?? 0));
  }

  #insert(slot: Slot): void {
    const mask = this.#buckets.length - 1;
    let at = this.#hashOf(slot) & mask;
    while ((this.#buckets[at] ?? 0) !== 0) at = (at + 1) & mask;
    this.#buckets[at] = slot + 1;
    this.#used++;
  }

  #remove(slot: Slot): void {
    const mask = this.#buckets.length - 1;
    for (let at = this.#hashOf(slot) & mask; ; at = (at + 1) & mask) {
      const entry = this.#buckets[at] ?? 0;
      if (entry === 0) return;
      if (entry !== slot + 1) continue;
      this.#buckets[at] = TOMBSTONE; // still counts as used, so that a search ends at a true gap
      return;
    }
  }

  #rebuild(): void {
    let length = 1024;
    while (length < this.#slots.size * 4) length *= 2;
    this.#buckets = new Int32Array(length);
    this.#used = 0;
    for (const slot of this.#slots.values()) this.#insert(slot);
  }
}
