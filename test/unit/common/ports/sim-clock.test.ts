import assert from 'node:assert/strict';
import fc from 'fast-check';
import { realClock, SimClock } from '../../../../common/ports/index.ts';

describe('SimClock', () => {
  it('stands still until it is told to move', async () => {
    const clock = new SimClock(1000);
    let fired = false;
    clock.setTimer(() => {
      fired = true;
    }, 10);
    await clock.advance(9);
    assert.equal(fired, false);
    assert.equal(clock.nowMs(), 1009);
    await clock.advance(1);
    assert.equal(fired, true);
    assert.equal(clock.monotonicMs(), 10);
  });

  it('fires timers by due time and, among equals, in the order they were set', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 60 }), async (delays) => {
        const clock = new SimClock();
        const fired: number[] = [];
        delays.forEach((delay, index) => {
          clock.setTimer(() => fired.push(index), delay);
        });
        await clock.runUntilIdle();
        const expected = delays.map((_, index) => index).sort((a, b) => (delays[a] ?? 0) - (delays[b] ?? 0) || a - b);
        assert.deepEqual(fired, expected);
        assert.equal(clock.pendingTimers, 0);
      }),
      { numRuns: 50 },
    );
  });

  it('never fires a cancelled timer, and cancelling a fired one changes nothing', async () => {
    const clock = new SimClock();
    const fired: string[] = [];
    const a = clock.setTimer(() => fired.push('a'), 1);
    const b = clock.setTimer(() => fired.push('b'), 2);
    b.cancel();
    b.cancel();
    assert.equal(clock.pendingTimers, 1);
    await clock.runUntilIdle();
    a.cancel();
    clock.setTimer(() => fired.push('c'), 1);
    assert.equal(clock.pendingTimers, 1);
    await clock.runUntilIdle();
    assert.deepEqual(fired, ['a', 'c']);
  });

  it('lets promises settle between two timers', async () => {
    const clock = new SimClock();
    const order: string[] = [];
    clock.setTimer(() => void Promise.resolve().then(() => order.push('promise')), 1);
    clock.setTimer(() => order.push('timer'), 1);
    await clock.runUntilIdle();
    assert.deepEqual(order, ['promise', 'timer']);
  });

  it('runs what sleepers set up after they wake, and says so when that never ends', async () => {
    const clock = new SimClock();
    let woken = 0;
    const sleeper = (async () => {
      for (; woken < 5; woken++) await clock.sleep(100);
    })();
    await clock.runUntilIdle();
    await sleeper;
    assert.equal(clock.monotonicMs(), 500);
    const rearm = (): void => void clock.setTimer(rearm, 1);
    rearm();
    await assert.rejects(clock.runUntilIdle(50), RangeError);
  });
});

for (const [name, make] of [
  ['realClock', () => realClock],
  ['SimClock', () => new SimClock()],
] as const) {
  describe(`sleep of ${name}`, () => {
    it('rejects with the reason of a signal and leaves no timer', async () => {
      const clock = make();
      const leaving = new AbortController();
      const sleeping = clock.sleep(60_000, leaving.signal);
      leaving.abort(new Error('enough'));
      await assert.rejects(sleeping, /enough/);
      await assert.rejects(clock.sleep(1, leaving.signal), /enough/);
      if (clock instanceof SimClock) assert.equal(clock.pendingTimers, 0);
    });
  });
}

describe('realClock', () => {
  it('does not fire a timer beyond 2^31 ms at once', async () => {
    let fired = false;
    const timer = realClock.setTimer(() => {
      fired = true;
    }, 2 ** 40);
    await realClock.sleep(20);
    timer.cancel();
    assert.equal(fired, false);
  });

  it('has a monotonic time that does not go back', () => {
    let last = realClock.monotonicMs();
    for (let i = 0; i < 1000; i++) {
      const now = realClock.monotonicMs();
      assert(now >= last);
      last = now;
    }
  });
});
