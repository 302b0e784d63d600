import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NabuError } from '../../../../common/errors/index.ts';
import type { WriterEpoch } from '../../../../engine/blob/index.ts';
import { EpochTable } from '../../../../engine/volume/epoch-table.ts';

const at = (incarnation: number): WriterEpoch => ({ generation: 1n, incarnation: BigInt(incarnation) });

/** How many sequences each opener writes, and how many of them the next one accepts. */
const history = fc.array(
  fc.record({ written: fc.nat(20), accepted: fc.nat(20) }).map(({ written, accepted }) => ({
    written,
    accepted: Math.min(written, accepted),
  })),
  { minLength: 1, maxLength: 20 },
);

/** The table after these openers, and who wrote each accepted sequence by plain bookkeeping. */
function play(openers: readonly { accepted: number }[]): { table: EpochTable; writers: WriterEpoch[] } {
  const table = new EpochTable();
  const writers: WriterEpoch[] = [];
  for (const [index, { accepted }] of openers.entries()) {
    const cutSequence = BigInt(writers.length);
    table.open({ epoch: at(index + 1), prevEpoch: at(index), cutSequence, stamp: BigInt(index) });
    for (let i = 0; i < accepted; i++) writers.push(at(index + 1));
  }
  return { table, writers };
}

describe('table of writer epochs', () => {
  it('tells for every accepted sequence who wrote it', () => {
    fc.assert(
      fc.property(history, (openers) => {
        const { table, writers } = play(openers);
        for (const [index, writer] of writers.entries())
          assert.deepEqual(table.rangeOf(BigInt(index + 1)).epoch, writer);
        assert.deepEqual(table.rangeOf(BigInt(writers.length + 1)).epoch, at(openers.length));
      }),
    );
  });

  it('keeps no epoch of which nothing was accepted, except the last', () => {
    fc.assert(
      fc.property(history, (openers) => {
        const { table } = play(openers);
        const kept = openers.filter(({ accepted }, index) => accepted > 0 || index === openers.length - 1).length;
        assert.equal(table.ranges.length, kept);
      }),
    );
  });

  it('reads back as it was written, padding or not', () => {
    fc.assert(
      fc.property(history, fc.nat(5000), (openers, padding) => {
        const { table } = play(openers);
        const bytes = Buffer.concat([table.encode(), Buffer.alloc(padding)]);
        assert.ok(EpochTable.isEncoded(bytes));
        assert.deepEqual(EpochTable.decode(bytes).ranges, table.ranges);
      }),
    );
  });

  it('is refused when it is cut short or changed', () => {
    const bytes = play([{ accepted: 3 }, { accepted: 2 }]).table.encode();
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(() => EpochTable.decode(bytes.subarray(0, length)), NabuError);
    }
    for (let index = 0; index < bytes.length; index++) {
      const changed = Buffer.from(bytes);
      changed[index] = (changed[index] ?? 0) ^ 1;
      assert.throws(() => EpochTable.decode(changed), NabuError);
    }
  });

  it('still tells every sequence from `liveFrom` on after it was pruned', () => {
    fc.assert(
      fc.property(history, fc.nat(), (openers, where) => {
        const { table, writers } = play(openers);
        const liveFrom = 1 + (where % (writers.length + 1));
        table.prune(BigInt(liveFrom));
        for (const [index, writer] of writers.entries()) {
          if (index + 1 >= liveFrom) assert.deepEqual(table.rangeOf(BigInt(index + 1)).epoch, writer);
        }
      }),
    );
  });
});
