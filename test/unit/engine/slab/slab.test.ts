import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NabuError } from '../../../../common/errors/index.ts';
import { Slab, type Slot } from '../../../../engine/slab/index.ts';

const BLOCK = 4096;
const slabOf = (blocks: number, maxWaiters = 4): Slab =>
  Slab.create({ sizeBytes: blocks * BLOCK, hugePages: 'no', maxWaiters });
const never = { signal: new AbortController().signal };
const isCode =
  (code: string) =>
  (err: unknown): boolean =>
    NabuError.is(err) && err.code === code;

describe('a slab', () => {
  it('gives slots that never overlap and takes all of them back, whatever the order', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.array(fc.record({ blocks: fc.integer({ min: 1, max: 90 }), drop: fc.nat(20) }), { maxLength: 120 }),
        (blocks, steps) => {
          const slab = slabOf(blocks);
          const held: Slot[] = [];
          for (const step of steps) {
            const lengthBytes = Math.min(step.blocks, blocks) * BLOCK - (step.drop % 7);
            const slot = slab.tryAlloc(lengthBytes);
            if (slot === undefined) held.splice(step.drop % (held.length || 1), 1)[0]?.release();
            else held.push(slot);
            const ranges = held
              .map(({ offset, lengthBytes: length }) => [offset, offset + Math.ceil(length / BLOCK) * BLOCK] as const)
              .sort((a, b) => a[0] - b[0]);
            for (const [at, [from, to]] of ranges.entries()) {
              assert.equal(from % BLOCK, 0);
              assert(to <= slab.sizeBytes);
              assert(to <= (ranges[at + 1]?.[0] ?? slab.sizeBytes));
            }
          }
          for (const slot of held) slot.release();
          assert.equal(slab.freeBytes, blocks * BLOCK);
          assert.equal(slab.slots, 0);
          slab.alloc(2 ** Math.floor(Math.log2(blocks)) * BLOCK).release(); // all of it is in one piece again
        },
      ),
      { numRuns: 150 },
    );
  });

  it('gives exactly as many blocks as a slot needs', () => {
    const slab = slabOf(16);
    const slots = [slab.alloc(6 * BLOCK), slab.alloc(6 * BLOCK - 1), slab.alloc(1)];
    assert.equal(slab.freeBytes, 3 * BLOCK);
    for (const slot of slots) slot.release();
  });

  it('says what is missing when it is full', () => {
    const slab = slabOf(4);
    const slot = slab.alloc(3 * BLOCK);
    assert.throws(() => slab.alloc(2 * BLOCK), isCode('RESOURCE_EXHAUSTED'));
    slot.release();
    slab.alloc(2 * BLOCK).release();
  });

  it('refuses lengths that no slot can have', () => {
    const slab = slabOf(4);
    for (const length of [0, -1, 1.5, Number.NaN, 5 * BLOCK]) {
      assert.throws(() => slab.alloc(length), isCode('INVALID_ARGUMENT'));
    }
  });

  it('serves those who wait in the order in which they came', async () => {
    const slab = slabOf(4);
    const first = slab.alloc(4 * BLOCK);
    const served: string[] = [];
    const large = slab.allocWait(4 * BLOCK, never).then((slot) => {
      served.push('large');
      return slot;
    });
    const small = slab.allocWait(BLOCK, never).then((slot) => {
      served.push('small');
      return slot;
    });
    assert.equal(slab.waiting, 2);
    first.release();
    (await large).release();
    (await small).release();
    assert.deepEqual(served, ['large', 'small']);
  });

  it('lets a waiter go when its signal ends, and the next one pass', async () => {
    const slab = slabOf(4);
    const held = slab.alloc(3 * BLOCK);
    const gone = new AbortController();
    const large = slab.allocWait(4 * BLOCK, gone);
    const small = slab.allocWait(BLOCK, never);
    gone.abort(NabuError.of('TIMEOUT', { operation: 'test', timeoutMs: 1 }));
    await assert.rejects(large, isCode('TIMEOUT'));
    (await small).release();
    held.release();
    await assert.rejects(slab.allocWait(BLOCK, gone), isCode('TIMEOUT'));
  });

  it('bounds how many wait', async () => {
    const slab = slabOf(1, 1);
    const held = slab.alloc(BLOCK);
    const waiting = slab.allocWait(BLOCK, never);
    await assert.rejects(slab.allocWait(BLOCK, never), isCode('QUEUE_FULL'));
    held.release();
    (await waiting).release();
  });
});

describe('a slot', () => {
  it('is freed when its last holder lets go, and refuses to be used after that', () => {
    const slab = slabOf(2);
    const slot = slab.alloc(BLOCK);
    slot.bytes.fill(7);
    slot.retain();
    slot.release();
    assert.equal(slab.freeBytes, BLOCK);
    assert.equal(slot.bytes[4095], 7);
    slot.release();
    assert.equal(slab.freeBytes, 2 * BLOCK);
    assert.throws(() => slot.release(), isCode('FAILED_PRECONDITION'));
    assert.throws(() => slot.retain(), isCode('FAILED_PRECONDITION'));
    assert.throws(() => slot.bytes, isCode('FAILED_PRECONDITION'));
  });

  it('is a view of the one buffer at its offset', () => {
    const slab = slabOf(4);
    const slots = [slab.alloc(BLOCK), slab.alloc(100)];
    for (const slot of slots) {
      assert.equal(slot.bytes.buffer, slab.buffer);
      assert.equal(slot.bytes.byteOffset, slot.offset);
      assert.equal(slot.bytes.length, slot.lengthBytes);
      slot.release();
    }
  });
});
