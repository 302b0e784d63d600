import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NabuError } from '../../../../common/errors/index.ts';
import { skipSpace, skipValue } from '../../../../scheduler-extender/wire/index.ts';

function accepts(text: string): boolean {
  const bytes = Buffer.from(text);
  try {
    return skipSpace(bytes, skipValue(bytes, 0)) === bytes.length;
  } catch (err) {
    assert(NabuError.is(err, 'INVALID_ARGUMENT'), String(err));
    return false;
  }
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** A document with one character replaced, left out or put in: nearly JSON. */
const damaged = fc
  .tuple(
    fc.json({ maxDepth: 4 }),
    fc.nat(),
    fc.constantFrom(...'{}[]",:\\0-1.eEtfn \t\u0001é'),
    fc.constantFrom(0, 1, 2),
  )
  .map(([text, position, character, how]) => {
    const at = position % (text.length + 1);
    const rest = how === 0 ? at : at + 1;
    return text.slice(0, at) + (how === 2 ? '' : character) + text.slice(rest);
  });

describe('JSON that is skipped', () => {
  it('is what JSON.parse takes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), damaged), (text) => {
        assert.equal(accepts(text), parses(text), text);
      }),
      { numRuns: 20_000, seed: 11 },
    );
  });

  it('is not what only looks like it', () => {
    for (const text of [
      '',
      ' ',
      '01',
      '-',
      '1.',
      '.5',
      '1e',
      '"\\x"',
      '"\\u12g4"',
      '[1,]',
      '{"a":1,}',
      '{,}',
      'nul',
      '"a',
      'tru e',
    ])
      assert.equal(accepts(text), false, text);
    for (const text of ['-0.5e+10', '"\\ud800"', '{"a":{},"b":[]}', ' null ', '[[],{}]'])
      assert.equal(accepts(text), true, text);
  });

  it('ends at a depth that no object has, instead of with the stack', () => {
    assert.equal(accepts('['.repeat(256) + ']'.repeat(256)), true);
    assert.equal(accepts('['.repeat(257) + ']'.repeat(257)), false);
    assert.equal(accepts('{"a":'.repeat(100_000)), false);
  });
});
