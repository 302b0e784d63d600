import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NabuError } from '../../../../common/errors/index.ts';
import { compareWriterEpochs, parsePolicy } from '../../../../engine/blob/index.ts';
import {
  compareNotes,
  decodeOwnerNote,
  encodeOwnerNote,
  MAX_OPENS,
  NOTE_LIMIT_BYTES,
  noteVersion,
  type OwnerNote,
} from '../../../../engine/volume/owner-note.ts';

const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const plain = { noNullPrototype: true } as const;
const epoch = fc.record({ generation: u64, incarnation: u64 }, plain);
const open = fc.record({ epoch, prevEpoch: epoch, cutSequence: u64, stamp: u64 }, plain);
const checkpoint = fc.record({ epoch, rootSequence: u64, throughSequence: u64, tableSequence: u64 }, plain);
const note: fc.Arbitrary<OwnerNote> = fc.record(
  {
    epoch,
    counter: fc.nat(4_000_000),
    stamp: u64,
    sizeBytes: u64,
    policy: fc.constantFrom('ec:4+2', 'ec:16+8', 'replica:1', 'replica:3').map(parsePolicy),
    checkpoint: fc.option(checkpoint, { nil: undefined }),
    opens: fc.array(open, { maxLength: MAX_OPENS }),
  },
  plain,
);

describe('owner note', () => {
  it('reads back as it was written and never exceeds what a node stores', () => {
    fc.assert(
      fc.property(note, (given) => {
        const bytes = encodeOwnerNote(given);
        assert.ok(bytes.length <= NOTE_LIMIT_BYTES);
        assert.deepEqual(decodeOwnerNote(bytes), given);
      }),
    );
  });

  it('is refused when any one byte has changed', () => {
    fc.assert(
      fc.property(note, fc.nat(), fc.integer({ min: 1, max: 255 }), (given, where, flip) => {
        const bytes = encodeOwnerNote(given);
        const at = where % bytes.length;
        bytes[at] = (bytes[at] ?? 0) ^ flip;
        assert.throws(() => decodeOwnerNote(bytes), NabuError);
      }),
    );
  });

  it('is refused when it is cut short anywhere', () => {
    fc.assert(
      fc.property(note, fc.nat(), (given, where) => {
        const bytes = encodeOwnerNote(given);
        assert.throws(() => decodeOwnerNote(bytes.subarray(0, where % bytes.length)), NabuError);
      }),
    );
  });

  it('of a later version is refused as unknown, not as broken', () => {
    const bytes = Buffer.from(
      encodeOwnerNote({
        epoch: { generation: 1n, incarnation: 1n },
        counter: 0,
        stamp: 0n,
        sizeBytes: 0n,
        policy: parsePolicy('ec:4+2'),
        checkpoint: undefined,
        opens: [],
      }),
    );
    bytes.writeUInt16LE(2, 4);
    assert.throws(
      () => decodeOwnerNote(bytes),
      (err) => NabuError.is(err, 'FORMAT_UNKNOWN'),
    );
  });

  it('takes no more opens than fit', () => {
    fc.assert(
      fc.property(note, fc.array(open, { minLength: MAX_OPENS + 1, maxLength: MAX_OPENS + 1 }), (given, opens) => {
        assert.throws(() => encodeOwnerNote({ ...given, opens }), NabuError);
      }),
      { numRuns: 5 },
    );
  });
});

describe('version of a note', () => {
  const small = fc.record({
    generation: fc.bigInt({ min: 0n, max: (1n << 20n) - 1n }),
    incarnation: fc.bigInt({ min: 0n, max: (1n << 22n) - 1n }),
  });

  it('orders notes as their writer epochs and counters do', () => {
    fc.assert(
      fc.property(note, note, small, small, (a, b, epochA, epochB) => {
        const [left, right] = [
          { ...a, epoch: epochA },
          { ...b, epoch: epochB },
        ];
        const difference = noteVersion(epochA, a.counter) - noteVersion(epochB, b.counter);
        assert.equal(Math.sign(compareNotes(left, right)), difference < 0n ? -1 : difference > 0n ? 1 : 0);
      }),
    );
  });

  it('is refused when a part does not fit, rather than wrapped', () => {
    assert.throws(() => noteVersion({ generation: 1n << 20n, incarnation: 0n }, 0), NabuError);
    assert.throws(() => noteVersion({ generation: 0n, incarnation: 1n << 22n }, 0), NabuError);
    assert.throws(() => noteVersion({ generation: 0n, incarnation: 0n }, 1 << 22), NabuError);
    assert.equal(
      compareWriterEpochs({ generation: 1n, incarnation: 0n }, { generation: 0n, incarnation: 9n }) > 0,
      true,
    );
  });
});
