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
  readonly #bytes: (Uint8Array | undefined)[] = [];
  /** Open addressing, linear probing: slot + 1, 0 where nothing ever was. */
  #buckets = new Int32Array(1024);
  #used = 0;

  /** One more than the greatest slot ever given. */
  get limit(): number {
    return this.#names.length;
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
    this.#names[slot] = name;
    this.#refs[slot] = 1;
    this.#bytes[slot] = new Uint8Array(Buffer.from(name));
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
    this.#remove(slot);
    this.#slots.delete(name);
    this.#names[slot] = undefined;
    this.#bytes[slot] = undefined;
    this.#free.push(slot);
  }

  find(name: string): Slot {
    return this.#slots.get(name) ?? NO_SLOT;
  }

  /** The slot of the name that is the bytes [from, to), else NO_SLOT. */
  findBytes(bytes: Uint8Array, from: number, to: number): Slot {
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

  #is(slot: Slot, bytes: Uint8Array, from: number, to: number): boolean {
    const name = this.#bytes[slot];
    if (name === undefined || name.length !== to - from) return false;
    for (let at = 0; at < name.length; at++) if (name[at] !== bytes[from + at]) return false;
    return true;
  }

  #insert(slot: Slot): void {
    const name = this.#bytes[slot] ?? new Uint8Array();
    const mask = this.#buckets.length - 1;
    let at = hashOf(name, 0, name.length) & mask;
    while ((this.#buckets[at] ?? 0) !== 0) at = (at + 1) & mask;
    this.#buckets[at] = slot + 1;
    this.#used++;
  }

  #remove(slot: Slot): void {
    const name = this.#bytes[slot] ?? new Uint8Array();
    const mask = this.#buckets.length - 1;
    for (let at = hashOf(name, 0, name.length) & mask; ; at = (at + 1) & mask) {
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
