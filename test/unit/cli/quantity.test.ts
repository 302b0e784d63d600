import assert from 'node:assert/strict';
import { formatBytes, parseQuantity } from '../../../cli/quantity.ts';
import { NabuError } from '../../../common/errors/index.ts';

describe('sizes on the command line', () => {
  it('reads Kubernetes quantities, binary and decimal', () => {
    assert.equal(parseQuantity('size', '4Gi'), 4 * 2 ** 30);
    assert.equal(parseQuantity('size', '1.5Ti'), 1.5 * 2 ** 40);
    assert.equal(parseQuantity('size', '500M'), 500_000_000);
    assert.equal(parseQuantity('size', '4096'), 4096);
  });

  it('refuses what is no size, naming the field', () => {
    for (const text of ['', '0', '-1', '4 Gi', '4gb', 'Gi', '9999999999Pi', '1e9', '0x10']) {
      assert.throws(
        () => parseQuantity('device-size', text),
        (err) => NabuError.is(err, 'INVALID_ARGUMENT') && err.fields.field === 'device-size',
        text,
      );
    }
  });

  it('shows bytes with three digits and a unit', () => {
    assert.equal(formatBytes(0), '0 B');
    assert.equal(formatBytes(1536), '1.50 KiB');
    assert.equal(formatBytes(100 * 2 ** 20), '100 MiB');
    assert.equal(formatBytes(15.5 * 2 ** 30), '15.5 GiB');
  });
});
