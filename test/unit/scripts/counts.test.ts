import assert from 'node:assert/strict';
import { closingLine, NO_COUNTS, parseDoctest, sum } from '../../../scripts/tests/counts.ts';

const summary = (passed: number, failed: number): string =>
  `[doctest] test cases:     ${passed + failed} |     ${passed} passed | ${failed} failed | 0 skipped\n[doctest] assertions: 9 | 9 passed | 0 failed |\n`;

describe('the totals of a test run', () => {
  it('take the cases of a doctest summary, not its assertions', () => {
    assert.deepEqual(parseDoctest(summary(22, 1)), { passed: 22, failed: 1, skipped: 0 });
  });

  it('count a native test that says what the machine lacks as skipped', () => {
    assert.deepEqual(parseDoctest(`SKIPPED no huge pages\n${summary(3, 0)}`), { passed: 2, failed: 0, skipped: 1 });
  });

  it('know a program that died before its summary', () => {
    assert.equal(parseDoctest('==123==ERROR: AddressSanitizer'), undefined);
  });

  it('close with the line that pipelines read', () => {
    const counts = sum(sum(NO_COUNTS, { passed: 1, failed: 0, skipped: 2 }), { passed: 3, failed: 4, skipped: 0 });
    assert.equal(closingLine(counts), '4 passed, 4 failed, 2 skipped');
  });
});
