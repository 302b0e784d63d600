import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { SimClock } from '../../../../common/ports/index.ts';
import {
  BLOCK_BYTES,
  blobKey,
  blobKeyFromHex,
  blobKeyHex,
  compareWriterEpochs,
  contentKey,
  contentKeyOf,
  formatWriterEpoch,
  logKey,
  logPolicy,
  maxWriterEpoch,
  msOfStamp,
  nodeId,
  ownerOf,
  parsePolicy,
  rawBytes,
  StampClock,
  shardCount,
  shardLengthOf,
  shardRanges,
  stripeLengthOf,
  usableBytes,
  volumeId,
  volumeOf,
  type WriterEpoch,
} from '../../../../engine/blob/index.ts';

const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const writerEpoch: fc.Arbitrary<WriterEpoch> = fc.record({ generation: u64, incarnation: u64 });

describe('ids', () => {
  it('are parsed strictly: what is not one is refused with the field named', () => {
    for (const bad of ['', 'A', 'n_1', 'x'.repeat(64), 'a/b', 'ü', 'a\n']) {
      assert.throws(() => nodeId(bad), { code: 'INVALID_ARGUMENT', message: /^nodeId: / });
    }
    for (const bad of ['', '0'.repeat(31), 'F'.repeat(32), `${'0'.repeat(32)}\n`]) {
      assert.throws(() => volumeId(bad), { code: 'INVALID_ARGUMENT' });
    }
    assert.throws(() => blobKey(new Uint8Array(31)), { code: 'INVALID_ARGUMENT' });
    assert.throws(() => blobKeyFromHex('zz'), { code: 'INVALID_ARGUMENT' });
  });

  it('come back from their other forms', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        const key = blobKey(bytes);
        assert.deepEqual(Buffer.from(blobKeyFromHex(blobKeyHex(key))), Buffer.from(key));
        const volume = volumeOf(bytes.subarray(0, 16));
        assert.deepEqual(Buffer.from(ownerOf(volume)), Buffer.from(bytes.subarray(0, 16)));
      }),
    );
  });
});

describe('keys', () => {
  it('of content are its BLAKE3, in one piece or in many', () => {
    // Test vector of the BLAKE3 paper's reference implementation: the empty input.
    assert.equal(
      blobKeyHex(contentKey(new Uint8Array())),
      'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262',
    );
    const bytes = createHash('sha512').update('x').digest();
    assert.deepEqual(contentKeyOf([bytes.subarray(0, 7), bytes.subarray(7)]), contentKey(bytes));
  });

  it('of log blobs differ in volume, generation, incarnation and sequence', () => {
    const volume = volumeId('0'.repeat(32));
    const epoch = { generation: 1n, incarnation: 2n };
    const keys = [
      logKey(volume, epoch, 3n),
      logKey(volumeId(`1${'0'.repeat(31)}`), epoch, 3n),
      logKey(volume, { ...epoch, generation: 2n }, 3n),
      logKey(volume, { ...epoch, incarnation: 1n }, 3n),
      logKey(volume, epoch, 4n),
    ];
    assert.equal(new Set(keys.map(blobKeyHex)).size, keys.length);
    assert.deepEqual(logKey(volume, epoch, 3n), keys[0]);
  });
});

describe('writer epochs', () => {
  it('are ordered by generation, then by incarnation', () => {
    fc.assert(
      fc.property(writerEpoch, writerEpoch, (a, b) => {
        const order = compareWriterEpochs(a, b);
        assert.equal(Math.sign(order), -Math.sign(compareWriterEpochs(b, a)));
        assert.equal(order === 0, a.generation === b.generation && a.incarnation === b.incarnation);
        if (a.generation < b.generation) assert.ok(order < 0);
        assert.ok(compareWriterEpochs(maxWriterEpoch(a, b), a) >= 0);
      }),
    );
    assert.equal(formatWriterEpoch({ generation: 3n, incarnation: 17n }), '3.17');
  });
});

describe('stamps', () => {
  it('only go up, whatever the wall clock does and whatever is seen', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer({ min: -100_000, max: 100_000 }), fc.constant('next' as const)), {
          maxLength: 50,
        }),
        (steps) => {
          let nowMs = 1_700_000_000_000;
          const stamps = new StampClock({ ...new SimClock(), nowMs: () => nowMs } as SimClock);
          let last = 0n;
          for (const step of steps) {
            if (step === 'next') {
              const stamp = stamps.next();
              assert.ok(stamp > last);
              last = stamp;
            } else {
              nowMs += step;
              const seen = BigInt(Math.max(0, nowMs)) << 16n;
              stamps.merge(seen);
              if (seen > last) last = seen;
            }
          }
        },
      ),
    );
  });

  it('stay near the wall clock: 65,536 of them fit into a millisecond, and one from far ahead is refused', () => {
    const clock = new SimClock();
    const stamps = new StampClock(clock);
    for (let at = 0; at < 1000; at++) stamps.next();
    assert.equal(msOfStamp(stamps.next()), clock.nowMs());
    assert.throws(() => stamps.merge(BigInt(clock.nowMs() + 3_700_000) << 16n), { code: 'OUT_OF_RANGE' });
    assert.throws(() => stamps.merge(1n << 64n), { code: 'OUT_OF_RANGE' });
  });
});

describe('policies', () => {
  it('are parsed with their quorum: any m lost nodes leave the blob, no node holds more than m shards', () => {
    for (const [text, k, m, quorum] of [
      ['ec:4+2', 4, 2, 3],
      ['ec:8+2', 8, 2, 5],
      ['ec:2+1', 2, 1, 3],
      ['ec:16+8', 16, 8, 9],
      ['ec:1+1', 1, 1, 2],
      ['replica:1', 1, 0, 1],
      ['replica:2', 1, 1, 2],
      ['replica:3', 1, 2, 2],
      ['replica:9', 1, 8, 5],
    ] as const) {
      const { name, ...policy } = parsePolicy(text);
      assert.equal(name, text);
      assert.deepEqual({ k: policy.k, m: policy.m, quorum: policy.quorum }, { k, m, quorum });
    }
  });

  it('are refused when they are none', () => {
    for (const bad of [
      '',
      'ec',
      'ec:4',
      'ec:4+',
      'ec:0+2',
      'ec:4+0',
      'ec:17+2',
      'ec:4+9',
      'ec:04+2',
      'EC:4+2',
      'ec:4+2 ',
      'replica:0',
      'replica:10',
      'replica:-1',
      'raid5',
      'ec:4+2+1',
    ]) {
      assert.throws(() => parsePolicy(bad), { code: 'POLICY_UNKNOWN' }, bad);
    }
  });

  it('replicate small log blobs on m + 1 nodes, all of which count', () => {
    const small = logPolicy(parsePolicy('ec:4+2'), 4096);
    assert.deepEqual({ k: small.k, m: small.m, quorum: small.quorum }, { k: 1, m: 2, quorum: 3 });
    assert.equal(logPolicy(parsePolicy('ec:4+2'), 256 * 1024).name, 'ec:4+2');
    assert.equal(logPolicy(parsePolicy('replica:3'), 10).quorum, 2);
  });

  it('count raw bytes upwards and usable bytes downwards', () => {
    const policy = parsePolicy('ec:4+2');
    assert.equal(rawBytes(policy, 4n), 6n);
    assert.equal(rawBytes(policy, 1n), 2n);
    fc.assert(
      fc.property(u64, (raw) => {
        assert.ok(rawBytes(policy, usableBytes(policy, raw)) <= raw);
      }),
    );
  });
});

describe('geometry', () => {
  const policies = fc.constantFrom('ec:4+2', 'ec:8+2', 'ec:3+2', 'replica:3').map(parsePolicy);

  it('gives each of k shards the same whole blocks, enough for the blob and none too many', () => {
    fc.assert(
      fc.property(policies, fc.integer({ min: 0, max: 64 << 20 }), (policy, blobLength) => {
        const shard = shardLengthOf(policy, blobLength);
        assert.equal(shard % BLOCK_BYTES, 0);
        assert.ok(shard > 0 && shard * policy.k >= blobLength);
        assert.ok((shard - BLOCK_BYTES) * policy.k < Math.max(1, blobLength));
        assert.equal(stripeLengthOf(policy, blobLength), shard * shardCount(policy));
      }),
    );
  });

  it('covers a byte range with adjacent whole blocks of the shards, and no block more', () => {
    fc.assert(
      fc.property(
        policies,
        fc.integer({ min: 1, max: 1 << 20 }),
        fc.nat(1 << 20),
        fc.nat(1 << 20),
        (policy, blobLength, a, b) => {
          const offset = a % blobLength;
          const length = 1 + (b % (blobLength - offset));
          const shardLength = shardLengthOf(policy, blobLength);
          const pieces = shardRanges(shardLength, offset, length);
          const first = pieces[0];
          const last = pieces.at(-1);
          assert.ok(first && last);
          let at = first.shard * shardLength + first.offset;
          assert.equal(at, Math.floor(offset / BLOCK_BYTES) * BLOCK_BYTES);
          for (const piece of pieces) {
            assert.equal(piece.shard * shardLength + piece.offset, at);
            assert.ok(piece.length > 0 && piece.offset + piece.length <= shardLength);
            at += piece.length;
          }
          assert.equal(at, Math.ceil((offset + length) / BLOCK_BYTES) * BLOCK_BYTES);
        },
      ),
    );
  });
});
