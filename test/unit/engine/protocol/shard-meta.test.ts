import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NabuError } from '../../../../common/errors/index.ts';
import { blobKey, roundUpToBlock, stripeId } from '../../../../engine/blob/index.ts';
import {
  checkWholeShard,
  decodeShardCrcs,
  decodeShardMeta,
  encodeShardMeta,
  patchMapEpoch,
  SHARD_KIND,
  type ShardMeta,
  shardMetaLength,
  withShard,
} from '../../../../engine/protocol/index.ts';

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length });

const arbitraryMeta: fc.Arbitrary<ShardMeta> = fc
  .record({ k: fc.integer({ min: 1, max: 16 }), m: fc.integer({ min: 0, max: 8 }), blobLength: fc.nat(4 << 20) })
  .chain(({ k, m, blobLength }) =>
    fc.record({
      flags: fc.nat(7),
      key: bytes(32).map(blobKey),
      stripeId: bytes(16).map(stripeId),
      owner: bytes(16),
      writer: fc.record({ generation: u64, incarnation: u64 }, { noNullPrototype: true }),
      sequence: u64,
      stamp: u64,
      blobLength: fc.constant(blobLength),
      shardLength: fc.constant(roundUpToBlock(Math.max(1, Math.ceil(blobLength / k)))),
      k: fc.constant(k),
      m: fc.constant(m),
      shardIndex: fc.nat(k + m - 1),
      kind: fc.constant(SHARD_KIND.shard),
      homeSetVersion: u64,
      mapEpoch: fc.nat(Number.MAX_SAFE_INTEGER),
      missingMask: fc.nat(2 ** (k + m) - 1),
      rangeOffset: fc.constant(0),
    }),
  );

const crcsFor = (meta: ShardMeta): Uint32Array =>
  Uint32Array.from({ length: meta.shardLength / 4096 }, (_, i) => (i * 2654435761) >>> 0);

const sample: ShardMeta = {
  flags: 1,
  key: blobKey(new Uint8Array(32).fill(1)),
  stripeId: stripeId(new Uint8Array(16).fill(2)),
  owner: new Uint8Array(16).fill(3),
  writer: { generation: 4n, incarnation: 5n },
  sequence: 6n,
  stamp: 7n,
  blobLength: 16384,
  shardLength: 4096,
  k: 4,
  m: 2,
  shardIndex: 5,
  kind: SHARD_KIND.shard,
  homeSetVersion: 8n,
  mapEpoch: 9,
  missingMask: 0,
  rangeOffset: 0,
};

const isProtocolError = (err: unknown): boolean => NabuError.is(err, 'PROTOCOL_ERROR');

describe('the shard descriptor', () => {
  it('comes back as it was, with its checksums', () => {
    fc.assert(
      fc.property(arbitraryMeta, (meta) => {
        const crcs = crcsFor(meta);
        const encoded = encodeShardMeta(meta, crcs);
        assert.equal(encoded.length, shardMetaLength(meta.shardLength));
        const decoded = decodeShardMeta(encoded);
        assert.deepEqual({ ...decoded, key: [...decoded.key] }, { ...meta, key: [...meta.key] });
        assert.deepEqual(decodeShardCrcs(encoded), crcs);
      }),
    );
  });

  it('of another shard of the stripe is what it would be from scratch', () => {
    fc.assert(
      fc.property(arbitraryMeta, fc.nat(255), fc.nat(), (meta, shardIndex, salt) => {
        const crcs = crcsFor(meta).map((crc) => crc ^ salt);
        const derived = withShard(encodeShardMeta(meta, crcsFor(meta)), shardIndex, crcs);
        assert.deepEqual(derived, encodeShardMeta({ ...meta, shardIndex }, crcs));
      }),
    );
  });

  it('lies in memory as docs/protocol.md says', () => {
    const encoded = encodeShardMeta(sample, crcsFor(sample));
    assert.equal(encoded.toString('latin1', 0, 4), 'NBSH');
    assert.equal(encoded.readUInt16LE(4), 1);
    assert.equal(encoded[8], 1);
    assert.equal(encoded[40], 2);
    assert.equal(encoded[56], 3);
    assert.equal(encoded.readBigUInt64LE(72), 4n);
    assert.equal(encoded.readBigUInt64LE(96), 7n);
    assert.equal(encoded.readUInt32LE(104), 16384);
    assert.deepEqual([...encoded.subarray(112, 116)], [4, 2, 5, 1]);
    assert.equal(encoded.readUInt32LE(116), 1);
    assert.equal(encoded.readBigUInt64LE(128), 9n);
  });

  it('is refused in every field that cannot be: never thrown as anything but PROTOCOL_ERROR', () => {
    const good = encodeShardMeta(sample, crcsFor(sample));
    const spoil = (at: number, value: number): Buffer => {
      const bad = Buffer.from(good);
      bad[at] = value;
      return bad;
    };
    const wrong: [string, Buffer][] = [
      ['magic', spoil(0, 0)],
      ['version', spoil(4, 2)],
      ['flags', spoil(6, 8)],
      ['blob length', spoil(107, 0xff)],
      ['shard length', spoil(108, 1)],
      ['k', spoil(112, 0)],
      ['k too large', spoil(112, 33)],
      ['shard index', spoil(114, 6)],
      ['kind', spoil(115, 9)],
      ['kind 0', spoil(115, 0)],
      ['checksum count', spoil(116, 0)],
      ['map epoch', spoil(135, 0xff)],
      ['missing mask', spoil(136, 0x80)],
      ['range', spoil(140, 1)],
      ['reserved', spoil(159, 1)],
      ['cut', good.subarray(0, 159)],
      ['cut checksums', good.subarray(0, 162)],
      ['more', Buffer.concat([good, Buffer.alloc(4)])],
      ['empty', Buffer.alloc(0)],
    ];
    for (const [what, bytesOfIt] of wrong) assert.throws(() => decodeShardMeta(bytesOfIt), isProtocolError, what);
  });

  it('of a range is no whole shard', () => {
    const ranged = { ...sample, blobLength: 65536, shardLength: 16384, rangeOffset: 4096 };
    const encoded = encodeShardMeta(ranged, new Uint32Array(2));
    assert.equal(decodeShardMeta(encoded).rangeOffset, 4096);
    assert.throws(
      () => checkWholeShard(ranged, encoded, 8192),
      (err) => NabuError.is(err, 'INVALID_ARGUMENT'),
    );
    const past = { ...ranged, rangeOffset: 12288 };
    assert.throws(() => decodeShardMeta(encodeShardMeta(past, new Uint32Array(2))), isProtocolError);
  });

  it('gets a new map epoch without being encoded again', () => {
    const encoded = encodeShardMeta(sample, crcsFor(sample));
    patchMapEpoch(encoded, 2 ** 40 + 3);
    assert.equal(decodeShardMeta(encoded).mapEpoch, 2 ** 40 + 3);
  });
});
