import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NabuError } from '../../../../common/errors/index.ts';
import { crc32c, crc32cBlocks, verifyBlocks } from '../../../../engine/ec/index.ts';
import { patternBytes } from './stripes.ts';

const refused = (code: 'INVALID_ARGUMENT' | 'OUT_OF_RANGE') => (err: unknown) => NabuError.is(err, code);

describe('checksums', () => {
  it('CRC32C gives the vectors of RFC 3720', () => {
    assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
    assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
    assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
    assert.equal(crc32c(new Uint8Array(0)), 0);
  });

  it('CRC32C of two pieces in turn is that of the whole', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.nat(), (bytes, at) => {
        const cut = bytes.length === 0 ? 0 : at % bytes.length;
        assert.equal(crc32c(bytes, cut, bytes.length - cut, crc32c(bytes, 0, cut)), crc32c(bytes));
      }),
    );
  });

  it('finds the first block with any bit flipped', () => {
    const bytes = patternBytes(5 * 4096 + 100);
    const crcs = new Uint32Array(6);
    crc32cBlocks(bytes, 0, bytes.length, crcs);
    assert.equal(verifyBlocks(bytes, 0, bytes.length, crcs), -1);
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(7), (at, bit) => {
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
        assert.equal(verifyBlocks(bytes, 0, bytes.length, crcs), Math.floor(at / 4096));
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
      }),
    );
  });

  it('counts offsets from the start of the view it is given', () => {
    const whole = patternBytes(10_000);
    const view = whole.subarray(1000, 9000);
    assert.equal(crc32c(view, 96, 500), crc32c(whole, 1096, 500));
    assert.equal(crc32c(new DataView(whole.buffer, 1000), 96, 500), crc32c(view, 96, 500));
  });

  it('refuses ranges outside the bytes and outputs without room', () => {
    const bytes = new Uint8Array(8192);
    assert.throws(() => crc32c(bytes, 8000, 193), refused('OUT_OF_RANGE'));
    assert.throws(() => crc32c(bytes, 2 ** 53 - 1, 2 ** 53 - 1), refused('OUT_OF_RANGE'));
    assert.throws(() => crc32c(bytes, 9000), refused('INVALID_ARGUMENT'));
    assert.throws(() => crc32c(bytes, 0.5, 1), refused('INVALID_ARGUMENT'));
    assert.throws(() => crc32c(bytes, 0, 1, 2 ** 32), refused('INVALID_ARGUMENT'));
    assert.throws(() => crc32cBlocks(bytes, 0, 8192, new Uint32Array(1)), refused('INVALID_ARGUMENT'));
    assert.throws(() => verifyBlocks(bytes, 0, 4097, new Uint32Array(1)), refused('INVALID_ARGUMENT'));
  });
});
