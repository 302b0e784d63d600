import assert from 'node:assert/strict';
import { Deadline, withDeadline } from '../../../../common/concurrency/index.ts';
import { NabuError } from '../../../../common/errors/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';

const never = new Promise<void>(() => undefined);

describe('Deadline', () => {
  let clock: SimClock;
  beforeEach(() => {
    clock = new SimClock();
  });

  it('counts down and aborts with a TIMEOUT that names the work', async () => {
    const deadline = new Deadline({ clock, operation: 'put', timeoutMs: 100 });
    await clock.advance(60);
    assert.equal(deadline.remainingMs(), 40);
    assert.equal(deadline.expired, false);
    await clock.advance(60);
    assert.equal(deadline.remainingMs(), 0);
    assert(NabuError.is(deadline.signal.reason, 'TIMEOUT'));
    assert.match(String(deadline.signal.reason), /put .*100 ms/);
    assert.throws(
      () => deadline.throwIfExpired(),
      (err) => NabuError.is(err, 'TIMEOUT'),
    );
  });

  it('ends with its parent, also when that ended before', async () => {
    const parent = new AbortController();
    const deadline = new Deadline({ clock, operation: 'put', timeoutMs: 100, parent: parent.signal });
    parent.abort();
    assert(NabuError.is(deadline.signal.reason, 'CANCELLED'));
    const late = new Deadline({ clock, operation: 'put', timeoutMs: 100, parent: parent.signal });
    assert(late.expired);
    assert.equal(clock.pendingTimers, 0);
  });

  it('gives inner deadlines that do not outlive it', async () => {
    const outer = new Deadline({ clock, operation: 'outer', timeoutMs: 100 });
    const inner = outer.within('inner', 500);
    assert.equal(inner.remainingMs(), 100);
    await clock.advance(100);
    assert(inner.expired);
  });

  it('leaves neither timer nor listener when it is disposed of', () => {
    const parent = new AbortController();
    {
      using deadline = new Deadline({ clock, operation: 'put', timeoutMs: 100, parent: parent.signal });
      assert.equal(clock.pendingTimers, 1);
      assert.equal(deadline.expired, false);
    }
    assert.equal(clock.pendingTimers, 0);
    parent.abort();
  });

  it('rejects what it races at the deadline, although the work never settles', async () => {
    const racing = withDeadline({ clock, operation: 'wait', timeoutMs: 10 }, () => never);
    const rejected = assert.rejects(racing, (err) => NabuError.is(err, 'TIMEOUT'));
    await clock.advance(10);
    await rejected;
    assert.equal(await withDeadline({ clock, operation: 'quick', timeoutMs: 10 }, async () => 7), 7);
    assert.equal(clock.pendingTimers, 0);
  });
});
