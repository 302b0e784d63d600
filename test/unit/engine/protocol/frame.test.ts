import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SeededRandom } from '../../../../common/ports/index.ts';
import {
  crc32c,
  decodeHeader,
  encodeHeader,
  FRAME_KIND,
  FrameHeader,
  HEADER_BYTES,
  MAX_META_BYTES,
  MAX_PAYLOAD_BYTES,
} from '../../../../engine/protocol/index.ts';

function encoded(fields: Partial<FrameHeader>): Buffer {
  const header = Object.assign(
    new FrameHeader(),
    { kind: FRAME_KIND.request, op: 2, requestId: 1, deadlineMs: 9 },
    fields,
  );
  const out = Buffer.alloc(HEADER_BYTES);
  encodeHeader(out, 0, header);
  return out;
}

function resealed(bytes: Buffer, change: (out: Buffer) => void): Buffer {
  const out = Buffer.from(bytes);
  change(out);
  out.writeUInt32LE(crc32c(out, 0, 44), 44);
  return out;
}

const flaw = (bytes: Buffer): string | undefined => decodeHeader(bytes, new FrameHeader());

describe('CRC32C', () => {
  it('gives the check value of the Castagnoli polynomial, and those of RFC 3720 B.4', () => {
    assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
    assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
    assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43);
    assert.equal(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i))), 0x46dd794e);
    assert.equal(crc32c(Buffer.alloc(0)), 0);
  });

  it('does not depend on where in a buffer the bytes lie', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(20), (bytes, shift) => {
        const shifted = Buffer.concat([Buffer.alloc(shift, 9), bytes, Buffer.alloc(3, 9)]);
        assert.equal(crc32c(shifted, shift, shift + bytes.length), crc32c(bytes));
      }),
    );
  });
});

describe('a frame header', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(
        fc.record({
          op: fc.integer({ min: 1, max: 65535 }),
          requestId: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
          metaLength: fc.integer({ min: 1, max: MAX_META_BYTES }),
          payloadLength: fc.integer({ min: 0, max: MAX_PAYLOAD_BYTES }),
          metaCrc: fc.nat(2 ** 32 - 1),
          mapEpoch: fc.nat(Number.MAX_SAFE_INTEGER),
          deadlineMs: fc.integer({ min: 1, max: 86_400_000 }),
        }),
        (fields) => {
          const into = new FrameHeader();
          assert.equal(decodeHeader(encoded(fields), into), undefined);
          assert.deepEqual({ ...into }, { kind: FRAME_KIND.request, status: 0, ...fields });
        },
      ),
    );
  });

  it('with any bit flipped is refused', () => {
    const good = encoded({ metaLength: 100, payloadLength: 4096, mapEpoch: 77 });
    for (let bit = 0; bit < HEADER_BYTES * 8; bit++) {
      const bad = Buffer.from(good);
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.notEqual(flaw(bad), undefined, `bit ${bit}`);
    }
  });

  it('with a right checksum over wrong fields is refused all the same', () => {
    const good = encoded({ metaLength: 10, metaCrc: 1 });
    assert.equal(flaw(good), undefined);
    const wrong: [string, (out: Buffer) => void][] = [
      ['version', (out) => out.writeUInt8(2, 4)],
      ['kind', (out) => out.writeUInt8(7, 5)],
      ['op', (out) => out.writeUInt16LE(0, 6)],
      ['request id', (out) => out.writeUInt32LE(0, 8)],
      ['request id above 2^53', (out) => out.writeUInt32LE(0xffffffff, 12)],
      ['status of a request', (out) => out.writeUInt16LE(1, 16)],
      ['flags', (out) => out.writeUInt16LE(1, 18)],
      ['meta length', (out) => out.writeUInt32LE(MAX_META_BYTES + 1, 20)],
      ['payload length', (out) => out.writeUInt32LE(MAX_PAYLOAD_BYTES + 1, 24)],
      ['checksum of no meta', (out) => out.writeUInt32LE(0, 20)],
      ['map epoch above 2^53', (out) => out.writeUInt32LE(0xffffffff, 36)],
      ['deadline', (out) => out.writeUInt32LE(0, 40)],
      ['long deadline', (out) => out.writeUInt32LE(0xffffffff, 40)],
      ['hello with a request id', (out) => out.writeUInt8(FRAME_KIND.hello, 5)],
      ['cancel with a meta', (out) => out.writeUInt8(FRAME_KIND.cancel, 5)],
      ['response with a deadline', (out) => out.writeUInt8(FRAME_KIND.response, 5)],
    ];
    for (const [what, change] of wrong) assert.notEqual(flaw(resealed(good, change)), undefined, what);
  });

  it('never makes the decoder throw', () => {
    const random = new SeededRandom(1);
    for (let i = 0; i < 20_000; i++)
      flaw(resealed(Buffer.from(random.bytes(HEADER_BYTES)), (out) => out.write('NABW')));
  });
});
