import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { SeededRandom, SimClock } from '../../../../common/ports/index.ts';
import { Backoff } from '../../../../device-plugin/kubelet/backoff.ts';
import { Newest } from '../../../../device-plugin/kubelet/newest.ts';
import { WakeUp } from '../../../../device-plugin/kubelet/wake-up.ts';

const FOREVER = new AbortController().signal;

describe('Backoff', () => {
  it('doubles up to its bound, takes off less than a half, and begins again when told', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const backoff = new Backoff({ firstMs: 50, mostMs: 300 }, new SeededRandom(seed));
        for (const wholeMs of [50, 100, 200, 300, 300, 300]) {
          const pauseMs = backoff.pauseMs();
          assert.ok(pauseMs >= wholeMs / 2 && pauseMs < wholeMs, `${pauseMs} of ${wholeMs}`);
        }
        backoff.reset();
        assert.ok(backoff.pauseMs() < 50);
      }),
    );
  });

  it('does not march in step with another', () => {
    const pauses = [1, 2, 3].map((seed) => new Backoff({ firstMs: 50, mostMs: 300 }, new SeededRandom(seed)).pauseMs());
    assert.equal(new Set(pauses).size, 3);
  });
});

describe('WakeUp', () => {
  it('returns at its time, when called, and when the signal aborts, leaving no timer', async () => {
    const clock = new SimClock();
    const wake = new WakeUp(clock);
    const stop = new AbortController();
    const ended: string[] = [];
    const wait = (name: string, timeoutMs: number) => wake.wait(timeoutMs, stop.signal).then(() => ended.push(name));
    const first = wait('time', 100);
    await clock.advance(100);
    await first;
    const second = wait('call', 100);
    wake.call();
    await second;
    const third = wait('abort', Number.POSITIVE_INFINITY);
    assert.equal(clock.pendingTimers, 0);
    stop.abort();
    await third;
    await wait('aborted before', 100);
    assert.deepEqual(ended, ['time', 'call', 'abort', 'aborted before']);
    assert.equal(clock.pendingTimers, 0);
  });

  it('does not lose a call that comes while nobody waits, and keeps one of many', async () => {
    const clock = new SimClock();
    const wake = new WakeUp(clock);
    wake.call();
    wake.call();
    await wake.wait(Number.POSITIVE_INFINITY, FOREVER);
    let isOver = false;
    const second = wake.wait(10, FOREVER).then(() => {
      isOver = true;
    });
    await turn();
    assert.equal(isOver, false);
    await clock.advance(10);
    await second;
  });
});

describe('Newest', () => {
  it('gives a reader what there is, then the newest of what there was since', async () => {
    const stop = new AbortController();
    const newest = new Newest(1);
    const reader = newest.follow(stop.signal);
    assert.equal((await reader.next()).value, 1);
    const next = reader.next();
    newest.set(2);
    assert.equal((await next).value, 2);
    for (const value of [3, 4, 5]) newest.set(value);
    assert.equal((await reader.next()).value, 5);
  });

  it('holds nothing for readers that have gone', async () => {
    const stop = new AbortController();
    const newest = new Newest(1);
    const readers = [1, 2, 3].map(() => newest.follow(stop.signal));
    await Promise.all(readers.map((reader) => reader.next()));
    const waits = readers.map((reader) => reader.next());
    await turn();
    assert.equal(newest.waiting, 3);
    stop.abort();
    for (const { done } of await Promise.all(waits)) assert.equal(done, true);
    assert.equal(newest.waiting, 0);
  });

  it('says nothing to a reader who came after the end', async () => {
    assert.equal((await new Newest(1).follow(AbortSignal.abort()).next()).done, true);
  });
});
