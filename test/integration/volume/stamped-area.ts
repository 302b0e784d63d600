import type { FileHandle } from 'node:fs/promises';
import type { Random } from '../../../common/ports/index.ts';
import type { Slab, Slot } from '../../../engine/slab/index.ts';
import { blockFault, type Expected, readStamp, STAMPED_BLOCK, stampBlock } from './stamped-blocks.ts';

/** Blocks of one write at most. */
const MOST_BLOCKS = 32;
const VERIFIED_AT_ONCE = 128;

type Write = { readonly version: number; readonly block: number; readonly count: number };

/**
 * A range of a file or device that one writer alone writes, one operation at a time, and what is known of it: which write of each
 * block was begun last, which has completed, which was flushed.
 */
export class StampedArea {
  readonly id: number;
  readonly blocks: number;
  readonly #firstBlock: number;
  readonly #random: Random;
  readonly #slot: Slot;
  readonly #words: Uint32Array;
  readonly #begun: Uint32Array;
  readonly #completed: Uint32Array;
  readonly #flushed: Uint32Array;
  /** Begun after the last flush, in order. */
  #unflushed: Write[] = [];
  #version = 0;

  constructor(options: { id: number; firstBlock: number; blocks: number; random: Random; slab: Slab }) {
    this.id = options.id;
    this.blocks = options.blocks;
    this.#firstBlock = options.firstBlock;
    this.#random = options.random;
    this.#slot = options.slab.alloc(VERIFIED_AT_ONCE * STAMPED_BLOCK);
    this.#words = new Uint32Array(options.slab.buffer, this.#slot.offset, (VERIFIED_AT_ONCE * STAMPED_BLOCK) / 4);
    this.#begun = new Uint32Array(options.blocks);
    this.#completed = new Uint32Array(options.blocks);
    this.#flushed = new Uint32Array(options.blocks);
  }

  /** A write of a random range; completed when it resolves. */
  async write(file: FileHandle): Promise<void> {
    // Mostly small ones: what a file system's journal and a database write.
    const most = this.#random.float() < 0.8 ? 4 : MOST_BLOCKS;
    const count = 1 + (this.#random.uint32() % most);
    await this.writeRange(file, this.#random.uint32() % (this.blocks - count + 1), count);
  }

  async writeRange(file: FileHandle, block: number, count: number): Promise<void> {
    const version = ++this.#version;
    for (let i = 0; i < count; i++) stampBlock(this.#blockOf(i), { area: this.id, block: block + i, version });
    this.#begun.fill(version, block, block + count);
    this.#unflushed.push({ version, block, count });
    const length = count * STAMPED_BLOCK;
    const { bytesWritten } = await file.write(this.#slot.bytes, 0, length, this.#positionOf(block));
    if (bytesWritten !== length) throw new Error(`area ${this.id}: ${bytesWritten} of ${length} bytes were written`);
    this.#completed.fill(version, block, block + count);
  }

  async flush(file: FileHandle): Promise<void> {
    await file.datasync();
    this.#flushed.set(this.#completed);
    this.#unflushed = [];
  }

  /** Reads a random range: every block must be the last completed write of it. */
  async verify(file: FileHandle): Promise<void> {
    const count = 1 + (this.#random.uint32() % MOST_BLOCKS);
    await this.#verifyRange(file, this.#random.uint32() % (this.blocks - count + 1), count, this.#completed);
  }

  async verifyAll(file: FileHandle): Promise<void> {
    for (let block = 0; block < this.blocks; block += VERIFIED_AT_ONCE) {
      await this.#verifyRange(file, block, Math.min(VERIFIED_AT_ONCE, this.blocks - block), this.#completed);
    }
  }

  /**
   * After the loss of everything that was not flushed: flushed writes are there, blocks are whole; and with `prefix`, the writes after
   * the flush that are there are the first ones. What was found is what is expected from now on.
   */
  async settleAfterLoss(file: FileHandle, prefix: boolean): Promise<void> {
    const found = new Uint32Array(this.blocks);
    for (let block = 0; block < this.blocks; block += VERIFIED_AT_ONCE) {
      const count = Math.min(VERIFIED_AT_ONCE, this.blocks - block);
      await this.#verifyRange(file, block, count, this.#flushed);
      for (let i = 0; i < count; i++) {
        const stamp = readStamp(this.#blockOf(i));
        found[block + i] = typeof stamp === 'string' ? 0 : stamp.version;
      }
    }
    if (prefix) this.#checkPrefix(found);
    for (const known of [this.#begun, this.#completed, this.#flushed]) known.set(found);
    this.#unflushed = [];
  }

  #checkPrefix(found: Uint32Array): void {
    let newest = 0;
    for (const version of found) newest = Math.max(newest, version);
    const wanted = this.#flushed.slice();
    // Writes were issued one after the other: if the newest is there, even in part, all before it are.
    for (const { version, block, count } of this.#unflushed) {
      if (version < newest) wanted.fill(version, block, block + count);
    }
    for (const [block, version] of found.entries()) {
      if (version !== wanted[block] && version !== newest) {
        throw new Error(
          `area ${this.id} block ${block}: version ${version} although version ${newest} is there, not ${wanted[block]}`,
        );
      }
    }
  }

  async #verifyRange(file: FileHandle, block: number, count: number, least: Uint32Array): Promise<void> {
    const length = count * STAMPED_BLOCK;
    const { bytesRead } = await file.read(this.#slot.bytes, 0, length, this.#positionOf(block));
    if (bytesRead !== length) throw new Error(`area ${this.id}: ${bytesRead} of ${length} bytes were read`);
    for (let i = 0; i < count; i++) {
      const fault = blockFault(this.#blockOf(i), this.id, block + i, this.#expected(block + i, least));
      if (fault !== undefined) throw new Error(fault);
    }
  }

  #expected(block: number, least: Uint32Array): Expected {
    return { least: least[block] ?? 0, most: this.#begun[block] ?? 0 };
  }

  #blockOf(index: number): Uint32Array {
    return this.#words.subarray((index * STAMPED_BLOCK) / 4, ((index + 1) * STAMPED_BLOCK) / 4);
  }

  #positionOf(block: number): number {
    return (this.#firstBlock + block) * STAMPED_BLOCK;
  }
}
