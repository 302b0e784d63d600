import assert from 'node:assert/strict';
import { stampOfMs } from '../../../../engine/blob/index.ts';
import { askStampFor } from '../../../../engine/volume/ask-stamp.ts';

describe('the stamp that home nodes are asked with', () => {
  it('does not let a node say absent that was emptied just before, for its clock may be behind', () => {
    const openedMs = 1_700_000_000_000;
    const emptiedBefore = (ms: number) => stampOfMs(openedMs - ms);
    assert.ok(askStampFor(stampOfMs(openedMs)) < emptiedBefore(5000));
    assert.ok(askStampFor(stampOfMs(openedMs)) > emptiedBefore(3_600_000));
  });

  it('is never below zero, which asks for any age', () => {
    assert.equal(askStampFor(0n), 0n);
  });
});
