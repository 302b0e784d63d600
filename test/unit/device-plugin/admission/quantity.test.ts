import assert from 'node:assert/strict';
import fc from 'fast-check';
import { quantityText, wholeQuantity } from '../../../../device-plugin/admission/quantity.ts';

describe('a quantity', () => {
  it('is read exactly, in every form that Kubernetes writes', () => {
    const cases: readonly (readonly [string | number, bigint])[] = [
      ['0', 0n],
      ['1', 1n],
      [3, 3n],
      ['64Mi', 67_108_864n],
      ['0.5Gi', 536_870_912n],
      ['1.5Ki', 1536n],
      ['2k', 2000n],
      ['2E', 2_000_000_000_000_000_000n],
      ['1e3', 1000n],
      ['12E2', 1200n],
      ['5000m', 5n],
      ['.5k', 500n],
      ['9007199254740993', 9_007_199_254_740_993n],
      [1e21, 10n ** 21n],
    ];
    for (const [text, value] of cases) assert.equal(wholeQuantity(text), value, String(text));
  });

  it('that is no whole number, negative, or none at all, is left to the API server', () => {
    for (const text of [
      '',
      '.',
      '-1',
      '1500m',
      '0.3',
      '1.0000001Ki',
      'x',
      '1Qi',
      '1 ',
      '1e',
      '1e999',
      `${'9'.repeat(40)}`,
    ]) {
      assert.equal(wholeQuantity(text), undefined, text);
    }
  });

  it('is written so that reading it gives the same bytes', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 80n }), (bytes) => wholeQuantity(quantityText(bytes)) === bytes),
    );
    assert.equal(quantityText(67_108_864n), '64Mi');
    assert.equal(quantityText(3n << 30n), '3Gi');
    assert.equal(quantityText(0n), '0');
  });
});
