import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NabuError } from '../../../../common/errors/index.ts';
import {
  crc32c,
  ErasureCoders,
  ecDrivers,
  NativeErasureCoder,
  stripeHash,
  verifyBlocks,
} from '../../../../engine/ec/index.ts';
import { lossesUpTo, patternBytes, type Stripe, shardsOf, stripeOf } from './stripes.ts';

/** Estimated durations from which on work leaves the JavaScript thread: never, always. */
const THREADS = [
  ['on the caller thread', Number.POSITIVE_INFINITY],
  ['on a worker thread', 0],
] as const;

/** Overwrites the lost shards, rebuilds them all, and says which differ from what they were. */
async function loseAndRebuild(coder: NativeErasureCoder, stripe: Stripe, lost: number): Promise<number[]> {
  const all = 2 ** (coder.k + coder.m) - 1;
  const before = shardsOf(lost).map((shard) => stripe.shard(shard).slice());
  for (const shard of shardsOf(lost)) stripe.shard(shard).fill(0xa5);
  await coder.reconstruct({
    offsets: stripe.offsets,
    presentMask: all & ~lost,
    wantedMask: lost,
    shardLength: stripe.shardLength,
  });
  return shardsOf(lost).filter((shard, at) => Buffer.compare(stripe.shard(shard), before[at] ?? Buffer.alloc(0)) !== 0);
}

const fieldIs = (code: 'INVALID_ARGUMENT' | 'OUT_OF_RANGE', field: string) => (err: unknown) =>
  NabuError.is(err, code) && err.fields.field === field;

describe('erasure coder', () => {
  for (const [where, asyncFromUs] of THREADS) {
    describe(where, () => {
      for (const policy of [
        { k: 4, m: 2 },
        { k: 8, m: 2 },
      ]) {
        it(`rebuilds every loss of up to ${policy.m} shards of ${policy.k}+${policy.m}`, async () => {
          const stripe = stripeOf(patternBytes(50_001), policy);
          const coder = new NativeErasureCoder(stripe.slab, policy.k, policy.m, 'auto', asyncFromUs);
          await coder.encodeStripe({ offset: 0, ...stripe });
          for (const lost of lossesUpTo(policy.k + policy.m, policy.m)) {
            assert.deepEqual(await loseAndRebuild(coder, stripe, lost), [], `lost ${shardsOf(lost)}`);
          }
        });
      }

      it('gives any bytes back after the loss of any shards that the code can bear', async () => {
        await fc.assert(
          fc.asyncProperty(
            fc.uint8Array({ maxLength: 20_000 }),
            fc.integer({ min: 1, max: 16 }),
            fc.integer({ min: 0, max: 8 }),
            fc.array(fc.nat(), { maxLength: 8 }),
            async (blob, k, m, picks) => {
              const stripe = stripeOf(blob, { k, m });
              const coder = new NativeErasureCoder(stripe.slab, k, m, 'auto', asyncFromUs);
              await coder.encodeStripe({ offset: 0, ...stripe });
              let lost = 0;
              for (const pick of picks.slice(0, m)) lost |= 1 << (pick % (k + m));
              assert.deepEqual(await loseAndRebuild(coder, stripe, lost), []);
              assert.deepEqual(new Uint8Array(stripe.slab, 0, blob.length), blob);
            },
          ),
          { numRuns: 60 },
        );
      });

      it('answers with the checksum of every block and the name of the stripe', async () => {
        const stripe = stripeOf(patternBytes(100_000), { k: 4, m: 2 });
        const coder = new NativeErasureCoder(stripe.slab, 4, 2, 'auto', asyncFromUs);
        const { crcs, stripeId } = await coder.encodeStripe({ offset: 0, ...stripe });
        assert.equal(crcs.length, (6 * stripe.shardLength) / 4096);
        assert.equal(verifyBlocks(stripe.slab, 0, stripe.slab.byteLength, crcs), -1);
        assert.deepEqual(stripeId, stripeHash(stripe.slab, 0, stripe.blobLength, { k: 4, m: 2 }));
      });

      it('names the first parity shard that does not belong to the data', async () => {
        const stripe = stripeOf(patternBytes(60_000), { k: 4, m: 2 });
        const coder = new NativeErasureCoder(stripe.slab, 4, 2, 'auto', asyncFromUs);
        await coder.encodeStripe({ offset: 0, ...stripe });
        assert.equal(await coder.verify(stripe.offsets, stripe.shardLength), -1);
        stripe.shard(5)[100] = (stripe.shard(5)[100] ?? 0) ^ 1;
        assert.equal(await coder.verify(stripe.offsets, stripe.shardLength), 1);
      });

      it('rebuilds only what is wanted and touches nothing else', async () => {
        const stripe = stripeOf(patternBytes(30_000), { k: 4, m: 2 });
        const coder = new NativeErasureCoder(stripe.slab, 4, 2, 'auto', asyncFromUs);
        await coder.encodeStripe({ offset: 0, ...stripe });
        const was = stripe.shard(1).slice();
        stripe.shard(1).fill(1);
        stripe.shard(3).fill(3);
        const offsets = stripe.offsets.with(3, -1);
        await coder.reconstruct({ offsets, presentMask: 0b110101, wantedMask: 0b10, shardLength: stripe.shardLength });
        assert.deepEqual(stripe.shard(1), was);
        assert.ok(stripe.shard(3).every((byte) => byte === 3));
      });

      it('refuses what it cannot do, by the name of the argument, and changes no byte', async () => {
        const stripe = stripeOf(patternBytes(30_000), { k: 4, m: 2 });
        const coder = new NativeErasureCoder(stripe.slab, 4, 2, 'auto', asyncFromUs);
        const before = Buffer.from(stripe.slab).toString('latin1');
        const { offsets, shardLength } = stripe;
        const good = { offset: 0, shardLength, blobLength: 30_000 };
        await assert.rejects(coder.encodeStripe({ ...good, offset: 64 }), fieldIs('OUT_OF_RANGE', 'stripeOffset'));
        await assert.rejects(coder.encodeStripe({ ...good, offset: 7 }), fieldIs('INVALID_ARGUMENT', 'stripeOffset'));
        await assert.rejects(coder.encodeStripe({ ...good, offset: -64 }), fieldIs('INVALID_ARGUMENT', 'stripeOffset'));
        await assert.rejects(
          coder.encodeStripe({ ...good, offset: Number.NaN }),
          fieldIs('INVALID_ARGUMENT', 'stripeOffset'),
        );
        await assert.rejects(
          coder.encodeStripe({ ...good, offset: 2 ** 53 - 64 }),
          fieldIs('OUT_OF_RANGE', 'stripeOffset'),
        );
        await assert.rejects(
          coder.encodeStripe({ ...good, blobLength: 4 * shardLength + 1 }),
          fieldIs('INVALID_ARGUMENT', 'blobLength'),
        );
        await assert.rejects(
          coder.encodeStripe({ ...good, shardLength: 4095 }),
          fieldIs('INVALID_ARGUMENT', 'shardLength'),
        );
        await assert.rejects(
          coder.encodeStripe({ ...good, shardLength: 0 }),
          fieldIs('INVALID_ARGUMENT', 'shardLength'),
        );
        await assert.rejects(
          coder.encodeStripe({ ...good, shardLength: 2 ** 52 }),
          fieldIs('INVALID_ARGUMENT', 'shardLength'),
        );

        const lost = { offsets, presentMask: 0b111100, wantedMask: 0b11, shardLength };
        const refusals: [object, 'INVALID_ARGUMENT' | 'OUT_OF_RANGE', string][] = [
          [{ presentMask: 0b111000 }, 'INVALID_ARGUMENT', 'presentMask'],
          [{ presentMask: 0b1111100 }, 'INVALID_ARGUMENT', 'presentMask'],
          [{ presentMask: -1 }, 'INVALID_ARGUMENT', 'presentMask'],
          [{ wantedMask: 0b100 }, 'INVALID_ARGUMENT', 'wantedMask'],
          [{ wantedMask: 1 << 24 }, 'INVALID_ARGUMENT', 'wantedMask'],
          [{ offsets: offsets.slice(1) }, 'INVALID_ARGUMENT', 'shardOffsets'],
          [{ offsets: offsets.with(0, -1) }, 'INVALID_ARGUMENT', 'shardOffsets'],
          [{ offsets: offsets.with(0, 32) }, 'INVALID_ARGUMENT', 'shardOffsets'],
          [{ offsets: offsets.with(5, 0.5) }, 'INVALID_ARGUMENT', 'shardOffsets'],
          [{ offsets: offsets.with(0, offsets[4] ?? 0) }, 'INVALID_ARGUMENT', 'shardOffsets'],
          [{ offsets: offsets.with(1, 64) }, 'INVALID_ARGUMENT', 'shardOffsets'],
          [{ offsets: offsets.with(5, 6 * shardLength - 64) }, 'OUT_OF_RANGE', 'shardOffsets'],
          [{ shardLength: 2 ** 53 - 1 }, 'OUT_OF_RANGE', 'shardOffsets'],
        ];
        for (const [change, code, field] of refusals) {
          await assert.rejects(coder.reconstruct({ ...lost, ...change }), fieldIs(code, field), JSON.stringify(change));
        }
        await assert.rejects(coder.verify(offsets, shardLength + 64), fieldIs('OUT_OF_RANGE', 'shardOffsets'));
        assert.equal(Buffer.from(stripe.slab).toString('latin1'), before);
      });
    });
  }

  it('writes what it has written since the first release', async () => {
    const stripe = stripeOf(patternBytes(20_000), { k: 3, m: 2 });
    const coder = new NativeErasureCoder(stripe.slab, 3, 2);
    const { stripeId } = await coder.encodeStripe({ offset: 0, ...stripe });
    assert.equal(Buffer.from(stripeId).toString('hex'), 'cb6f6357076d01155dcbf6ef317bee19');
    assert.equal(crc32c(stripe.shard(3)), 0xe907f2aa);
    assert.equal(crc32c(stripe.shard(4)), 0x6ac5b772);
  });

  it('gives the same parity with every driver of this machine', async () => {
    const wanted = stripeOf(patternBytes(40_000), { k: 5, m: 3 });
    await new NativeErasureCoder(wanted.slab, 5, 3, 'scalar').encodeStripe({ offset: 0, ...wanted });
    for (const driver of ['gfni', 'avx2', 'isal'] as const) {
      if (!ecDrivers().erasureCoding.some(({ name, available }) => name === driver && available)) continue;
      const stripe = stripeOf(patternBytes(40_000), { k: 5, m: 3 });
      const coder = new NativeErasureCoder(stripe.slab, 5, 3, driver);
      assert.equal(coder.driver, driver);
      await coder.encodeStripe({ offset: 0, ...stripe });
      assert.deepEqual(Buffer.compare(Buffer.from(stripe.slab), Buffer.from(wanted.slab)), 0);
    }
  });

  it('refuses a driver that this machine lacks with what is missing, and one that nobody knows', () => {
    const slab = new ArrayBuffer(4096);
    const { erasureCoding, crc32c: sums } = ecDrivers();
    assert.deepEqual(
      erasureCoding.slice(-2).map(({ name, available }) => [name, available]),
      [
        ['isal', true],
        ['scalar', true],
      ],
    );
    assert.ok(sums.some(({ name, available }) => name === 'table' && available));
    for (const { name, available, reason } of erasureCoding) {
      const make = () => new NativeErasureCoder(slab, 4, 2, name as 'gfni');
      if (available) assert.equal(make().driver, name);
      else {
        assert.throws(
          make,
          (err) =>
            NabuError.is(err, 'DRIVER_UNAVAILABLE') && err.message.includes(name) && err.message.includes(reason),
        );
      }
    }
    assert.throws(() => new NativeErasureCoder(slab, 4, 2, 'quantum' as 'auto'), fieldIs('INVALID_ARGUMENT', 'driver'));
  });

  it('makes each code once', () => {
    const coders = new ErasureCoders(new ArrayBuffer(4096));
    assert.equal(coders.of({ k: 4, m: 2 }), coders.of({ k: 4, m: 2 }));
    assert.notEqual(coders.of({ k: 4, m: 2 }), coders.of({ k: 2, m: 4 }));
    assert.throws(() => coders.of({ k: 17, m: 2 }), fieldIs('INVALID_ARGUMENT', 'k'));
    assert.throws(() => coders.of({ k: 4, m: 9 }), fieldIs('INVALID_ARGUMENT', 'm'));
  });
});
