import assert from 'node:assert/strict';
import { Deadline } from '../../../../common/concurrency/index.ts';
import { NabuError } from '../../../../common/errors/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import { CancellableDeadline } from '../../../../engine/client/cancellable-deadline.ts';

describe('cancellable deadline', () => {
  const cancelled = NabuError.of('CANCELLED', { operation: 'a test' });
  let clock: SimClock;
  let outer: Deadline;
  let deadline: CancellableDeadline;
  let told: number;
  const watcher = { deadlineEnded: () => void told++ };

  beforeEach(() => {
    clock = new SimClock();
    outer = new Deadline({ clock, operation: 'a test', timeoutMs: 100 });
    deadline = new CancellableDeadline(outer);
    told = 0;
  });

  it('ends with the outer deadline and its reason, for watchers and for the signal', async () => {
    deadline.watch(watcher);
    const { signal } = deadline;
    assert.equal(deadline.remainingMs(), 100);
    await clock.advance(100);
    assert.equal(told, 1);
    assert.ok(NabuError.is(deadline.reason, 'TIMEOUT'));
    assert.equal(signal.reason, deadline.reason);
    deadline.cancel(cancelled);
    assert.ok(NabuError.is(deadline.reason, 'TIMEOUT'), 'the first reason counts');
    assert.equal(told, 1);
  });

  it('ends when it is cancelled, while the outer one goes on', async () => {
    deadline.watch(watcher);
    deadline.cancel(cancelled);
    assert.equal(told, 1);
    assert.equal(deadline.reason, cancelled);
    assert.equal(deadline.signal.reason, cancelled);
    assert.equal(deadline.remainingMs(), 0);
    assert.equal(outer.expired, false);
    await clock.advance(100);
    assert.equal(told, 1);
  });

  it('tells nobody who has left', async () => {
    deadline.watch(watcher);
    deadline.unwatch(watcher);
    await clock.advance(100);
    assert.equal(told, 0);
    assert.equal(deadline.expired, true);
  });
});
