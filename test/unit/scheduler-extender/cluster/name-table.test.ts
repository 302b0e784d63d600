import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NameTable } from '../../../../scheduler-extender/cluster/name-table.ts';

describe('names of nodes as numbers', () => {
  it('are found by text and by bytes exactly while somebody refers to them', () => {
    const name = fc.integer({ min: 0, max: 40 }).map((at) => `node-${at}`);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), name), { maxLength: 3000, size: 'max' }), (steps) => {
        const table = new NameTable();
        const refs = new Map<string, number>();
        for (const [isNew, text] of steps) {
          const count = refs.get(text) ?? 0;
          if (isNew) table.acquire(text);
          else if (count > 0) table.release(table.find(text));
          refs.set(text, Math.max(0, count + (isNew ? 1 : -1)));
        }
        for (const [text, count] of refs) {
          const bytes = Buffer.from(`<${text}>`);
          const slot = table.findBytes(bytes, 1, bytes.length - 1);
          assert.equal(slot, table.find(text));
          assert.equal(slot >= 0, count > 0, text);
          if (count > 0) assert.equal(table.nameOf(slot), text);
        }
      }),
      { numRuns: 200, seed: 7 },
    );
  });

  it('keep their number through growth and the leaving of others, and numbers are used again', () => {
    const table = new NameTable();
    const slots = Array.from({ length: 6000 }, (_, at) => table.acquire(`n${at}`));
    for (let at = 0; at < 6000; at += 2) table.release(slots[at] ?? 0);
    for (let at = 1; at < 6000; at += 2) assert.equal(table.find(`n${at}`), slots[at]);
    for (let round = 0; round < 20_000; round++) table.release(table.acquire(`gone-${round}`));
    assert(table.limit <= 6001, String(table.limit));
    const bytes = Buffer.from('n5999');
    assert.equal(table.findBytes(bytes, 0, 5), slots[5999]);
  });
});
