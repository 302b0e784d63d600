import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { fromNative, NabuError } from '../../../common/errors/index.ts';

type SlabAddon = { allocate(...args: unknown[]): { buffer: ArrayBuffer; pageSizeBytes: number; locked: boolean } };
const addon: SlabAddon = createRequire(import.meta.url)('../../../build/native/slab/slab.node');

function failure(...args: unknown[]): NabuError {
  try {
    addon.allocate(...args);
  } catch (err) {
    const known = fromNative(err);
    assert(NabuError.is(known), String(err));
    return known;
  }
  throw new assert.AssertionError({ message: 'it was accepted' });
}

describe('the slab addon', () => {
  it('gives one zeroed ArrayBuffer of the length asked for, writable to its end', () => {
    const { buffer, pageSizeBytes, locked } = addon.allocate(1 << 20, { hugePages: 'try', lock: false });
    assert.equal(buffer.byteLength, 1 << 20);
    assert([4096, 2 << 20].includes(pageSizeBytes));
    assert.equal(locked, false);
    const bytes = new Uint8Array(buffer);
    assert(bytes.every((byte) => byte === 0));
    bytes[bytes.length - 1] = 1;
  });

  it('answers wrong use with an error that names the field, and never crashes', () => {
    const good = { hugePages: 'no', lock: false };
    for (const length of [
      undefined,
      null,
      'x',
      0,
      -4096,
      1,
      4097,
      4096.5,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      2 ** 53,
    ]) {
      assert.equal(failure(length, good).fields.field, 'lengthBytes', String(length));
    }
    assert.equal(failure(4096).fields.field, 'options');
    assert.equal(failure(4096, { ...good, hugePages: 'maybe' }).fields.field, 'hugePages');
    assert.equal(failure(4096, { ...good, lock: 1 }).fields.field, 'lock');
  });

  it('says what is exhausted when there is no memory or no huge page', () => {
    assert.equal(failure(2 ** 52, { hugePages: 'no', lock: false }).fields.resource, 'memory');
    assert.equal(failure(2 ** 45, { hugePages: 'require', lock: false }).fields.resource, 'huge pages');
  });

  it('passes on what a getter of the options throws', () => {
    const options = {
      get hugePages(): string {
        throw new RangeError('from the getter');
      },
      lock: false,
    };
    assert.throws(() => addon.allocate(4096, options), /from the getter/);
  });
});
