import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NabuError } from '../../../../common/errors/index.ts';
import { blobKey, stripeId, volumeId, volumeOf } from '../../../../engine/blob/index.ts';
import * as protocol from '../../../../engine/protocol/index.ts';

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length });
const key = bytes(32).map(blobKey);
const stripe = bytes(16).map(stripeId);
const owner = bytes(16).map(volumeOf);
const writer = fc.record({ generation: u64, incarnation: u64 });
const note = fc.uint8Array({ maxLength: 3072 });
const state = fc.record({ fence: writer, homeSetVersion: u64, note, noteVersion: u64 });
const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, v) => {
      if (typeof v === 'bigint') return `${v}`;
      if (v instanceof Uint8Array) return [...v];
      return v;
    }),
  );
const same = (a: unknown, b: unknown): void => assert.deepEqual(plain(a), plain(b));

describe('messages of the node protocol', () => {
  it('come back as they were', () => {
    const block = fc.nat(16384).map((n) => n * 4096);
    const selector = fc.record({
      key,
      stripeId: fc.option(stripe),
      shardIndex: fc.nat(255),
      rangeOffset: block,
      rangeLength: block,
      askStamp: u64,
    });
    const shard = fc.record({
      stripeId: stripe,
      shardIndex: fc.constant(2),
      k: fc.constant(4),
      m: fc.constant(2),
      blobLength: fc.nat(1 << 26),
      shardLength: block,
      stamp: u64,
    });
    const answer = fc.record({
      state: fc.constantFrom('found' as const, 'absent' as const, 'unknown' as const),
      shards: fc.array(shard, { maxLength: 6 }),
      deletedStamp: u64,
    });
    const range = fc.record(
      {
        fromSequence: u64,
        toSequence: u64,
        generation: u64,
        incarnation: u64,
        pins: fc.array(fc.record({ fromSequence: u64, toSequence: u64 }), { minLength: 1, maxLength: 128 }),
      },
      { requiredKeys: ['fromSequence', 'toSequence'] },
    );
    const update = fc.record(
      { fence: writer, homeSetVersion: u64, note, noteVersion: u64 },
      { requiredKeys: ['fence', 'homeSetVersion'] },
    );
    fc.assert(
      fc.property(
        selector,
        fc.array(key, { maxLength: 20 }),
        fc.array(answer, { maxLength: 8 }),
        (s, keys, answers) => {
          same(protocol.decodeReadRequest(protocol.encodeReadRequest(s)), s);
          same(protocol.decodeLookupRequest(protocol.encodeLookupRequest(keys, 5n)), { keys, askStamp: 5n });
          same(protocol.decodeLookupAnswers(protocol.encodeLookupAnswers(answers), answers.length), answers);
        },
      ),
    );
    fc.assert(
      fc.property(
        owner,
        update,
        range,
        u64,
        fc.array(fc.tuple(owner, state), { maxLength: 5 }),
        (o, u, r, stamp, owners) => {
          same(protocol.decodeSetOwner(protocol.encodeSetOwner(o, u)), { owner: o, update: u });
          same(protocol.decodeOwnerRange(protocol.encodeOwnerRange(o, r, stamp)), { owner: o, stamp, range: r });
          const page = { fencesComplete: owners.length % 2 === 0, owners };
          same(protocol.decodeOwnerPage(protocol.encodeOwnerPage(page)), page);
          for (const [, one] of owners) same(protocol.decodeOwnerState(protocol.encodeOwnerState(one)), one);
          same(protocol.decodeListOwners(protocol.encodeListOwners(o, 7)), { after: o, limit: 7 });
        },
      ),
    );
    const first = volumeId('00'.repeat(16));
    same(protocol.decodeListOwners(protocol.encodeListOwners(undefined, 1)), { after: undefined, limit: 1 });
    same(protocol.decodeOwner(protocol.encodeOwner(first)), first);
    assert.equal(protocol.decodeOwnerState(protocol.encodeOwnerState(undefined)), undefined);
    for (const result of ['stored', 'exists', 'deleted'] as const) {
      assert.equal(protocol.decodePutAnswer(protocol.encodePutAnswer(result)), result);
    }
    for (const failure of ['absent', 'unknown', 'corrupt'] as const) {
      assert.equal(protocol.decodeReadFailure(protocol.encodeReadFailure(failure)), failure);
    }
  });

  it('that are cut, too long or random are PROTOCOL_ERROR and nothing else', () => {
    const decoders: ((message: Uint8Array) => unknown)[] = [
      protocol.decodeReadRequest,
      protocol.decodeLookupRequest,
      (message) => protocol.decodeLookupAnswers(message, 1),
      protocol.decodePutAnswer,
      protocol.decodeReadFailure,
      protocol.decodeDelete,
      protocol.decodeDegradedMark,
      protocol.decodeOwner,
      protocol.decodeSetOwner,
      protocol.decodeOwnerState,
      protocol.decodeListOwners,
      protocol.decodeOwnerPage,
      protocol.decodeOwnerRange,
      protocol.decodeShardMeta,
      protocol.decodeHello,
      protocol.decodeError,
    ];
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (message) => {
        for (const decode of decoders) {
          try {
            decode(message);
          } catch (err) {
            assert(NabuError.is(err, 'PROTOCOL_ERROR'), String(err));
          }
        }
      }),
      { numRuns: 2000 },
    );
    const good = protocol.encodeDelete([blobKey(new Uint8Array(32))], 1n);
    for (const bad of [good.subarray(1), Buffer.concat([good, Buffer.alloc(1)])]) {
      assert.throws(
        () => protocol.decodeDelete(bad),
        (err) => NabuError.is(err, 'PROTOCOL_ERROR'),
      );
    }
  });

  it('bound every list before memory is taken for it', () => {
    const endless = Buffer.alloc(12);
    endless.writeUInt32LE(0xffffffff, 8);
    assert.throws(() => protocol.decodeLookupRequest(endless), /at most 4096/);
    const page = Buffer.alloc(8);
    page.writeUInt32LE(0xffffffff, 4);
    assert.throws(() => protocol.decodeOwnerPage(page), /at most 256/);
  });
});

describe('an error on the wire', () => {
  it('keeps its code and its fields, 64-bit ones too', () => {
    const error = NabuError.of('FENCED', {
      owner: 'ab',
      fence: '3.4',
      generation: 2n ** 63n,
      nodes: ['a', 'b'],
      at: 5,
    });
    const back = protocol.decodeError(protocol.encodeError(error));
    assert.equal(back.code, 'FENCED');
    assert.deepEqual(back.fields, error.fields);
    assert.equal(back.message, error.message);
  });

  it('is bounded whatever its fields hold', () => {
    const error = NabuError.of('INVALID_ARGUMENT', { field: 'x'.repeat(1e5), reason: 'y'.repeat(1e5) });
    assert(protocol.encodeError(error).length < 4096);
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`f${i}`, 'z'.repeat(500)]));
    const back = protocol.decodeError(
      protocol.encodeError(NabuError.of('INVALID_ARGUMENT', { field: 'f', reason: 'r', ...many })),
    );
    assert.equal(back.code, 'INVALID_ARGUMENT');
  });

  it('of a code that this release does not know is a PROTOCOL_ERROR that names it', () => {
    const text = JSON.stringify({ code: 'FROM_THE_FUTURE', fields: {} });
    assert.match(protocol.decodeError(Buffer.from(text)).message, /FROM_THE_FUTURE/);
  });
});

describe('a hello', () => {
  const hello = {
    clusterId: 'ab'.repeat(16),
    nodeId: 'node-1',
    deviceId: '01'.repeat(16),
    incarnation: 2n ** 60n,
    fencesComplete: true,
    label: 'node-1',
  };

  it('comes back as it was', () => {
    assert.deepEqual(protocol.decodeHello(protocol.encodeHello(hello)), hello);
    const client = protocol.clientHello('cd'.repeat(16), '', 'a test');
    assert.deepEqual(protocol.decodeHello(protocol.encodeHello(client)), client);
  });

  it('of other versions, or with features we must know and do not, is refused', () => {
    const newer = protocol.encodeHello(hello);
    newer.writeUInt16LE(2, 0);
    newer.writeUInt16LE(3, 2);
    assert.throws(() => protocol.decodeHello(newer), /versions 2 to 3/);
    const demanding = protocol.encodeHello(hello);
    demanding.writeBigUInt64LE(4n, 8);
    assert.throws(() => protocol.decodeHello(demanding), /features 0x4/);
  });
});
