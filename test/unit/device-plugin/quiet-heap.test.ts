import assert from 'node:assert/strict';
import { SimClock } from '../../../common/ports/index.ts';
import { QuietHeap } from '../../../device-plugin/quiet-heap.ts';

describe('the heap of a daemon', () => {
  it('is collected once when it has been quiet for a while, and never while calls come', async () => {
    const clock = new SimClock();
    let times = 0;
    const heap = new QuietHeap(clock, () => times++);
    for (let call = 0; call < 100; call++) {
      heap.used();
      await clock.advance(9000);
    }
    assert.equal(times, 0);
    await clock.advance(1000);
    assert.equal(times, 1);
    await clock.advance(3_600_000);
    assert.equal(times, 1);
    heap.used();
    await clock.advance(10_000);
    assert.equal(times, 2);
    assert.equal(clock.pendingTimers, 0);
  });
});
