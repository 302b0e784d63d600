import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import { Waker } from '../../../../scheduler-extender/wake/index.ts';

function setUp() {
  const clock = new SimClock();
  const wakesAtMs: number[] = [];
  const ended: string[] = [];
  const room = { returns: 0, freeBytes: 0 };
  const state: { isAnswering: boolean; trouble: 'none' | 'refused' | 'silent'; lapse: () => void } = {
    isAnswering: true,
    trouble: 'none',
    lapse: () => undefined,
  };
  const waker = new Waker({
    call: {
      wake: async () => {
        wakesAtMs.push(clock.monotonicMs());
        if (state.trouble === 'refused') throw new Error('status 403');
        if (state.trouble === 'silent') await new Promise(() => undefined);
      },
    },
    room: () => ({ ...room }),
    lapse: () => state.lapse(),
    isAnswering: () => state.isAnswering,
    ended: (result) => ended.push(result),
    clock,
    logger: silentLogger,
  });
  return { clock, wakesAtMs, ended, room, state, waker };
}

describe('schedulers', () => {
  it('are made to ask again, once, when there is more room than a pod was refused for', async () => {
    const { clock, wakesAtMs, ended, room, waker } = setUp();
    waker.refused();
    await clock.advance(60_000);
    assert.deepEqual(wakesAtMs, [], 'nothing has come back');
    room.returns++;
    await clock.advance(60_000);
    assert.deepEqual([wakesAtMs.length, ended], [1, ['done']]);
    const [at = 0] = wakesAtMs;
    assert(at - 60_000 <= 1000, 'it is noticed within a second');
  });

  it('are left alone where nobody was refused, whatever comes back, and no timer runs', async () => {
    const { clock, wakesAtMs, room } = setUp();
    room.returns = 7;
    room.freeBytes = 1e9;
    await clock.advance(60_000);
    assert.deepEqual([wakesAtMs, clock.pendingTimers], [[], 0]);
  });

  it('are left alone about who was refused with all that had come back in sight', async () => {
    const { clock, wakesAtMs, room, waker } = setUp();
    room.returns = 7;
    waker.refused();
    await clock.advance(60_000);
    assert.deepEqual(wakesAtMs, []);
  });

  it('are made to ask again about who was refused first, though another was refused since', async () => {
    const { clock, wakesAtMs, room, waker } = setUp();
    waker.refused();
    room.returns++;
    waker.refused();
    await clock.advance(2000);
    assert.equal(wakesAtMs.length, 1);
  });

  it('are made to ask again when control has more free than the least that somebody was refused for', async () => {
    const { clock, wakesAtMs, room, waker } = setUp();
    room.freeBytes = 100;
    waker.refused();
    room.freeBytes = 10;
    await clock.advance(5000);
    assert.deepEqual(wakesAtMs, []);
    waker.refused();
    room.freeBytes = 10.25;
    await clock.advance(5000);
    assert.deepEqual(wakesAtMs, [], 'a sum of fractions');
    room.freeBytes = 20;
    await clock.advance(2000);
    assert.equal(wakesAtMs.length, 1);
  });

  it('hear of what lapses by time alone', async () => {
    const { clock, wakesAtMs, room, state, waker } = setUp();
    state.lapse = () => {
      if (clock.monotonicMs() >= 30_000) room.returns = 1;
    };
    waker.refused();
    await clock.advance(29_000);
    assert.deepEqual(wakesAtMs, []);
    await clock.advance(2000);
    assert.equal(wakesAtMs.length, 1);
    assert.equal(clock.pendingTimers, 0);
  });

  it('are not disturbed more often than every five seconds, however much comes and goes', async () => {
    const { clock, wakesAtMs, room, waker } = setUp();
    for (let atMs = 0; atMs < 60_000; atMs += 100) {
      waker.refused();
      room.returns++;
      await clock.advance(100);
    }
    assert(wakesAtMs.length >= 10 && wakesAtMs.length <= 12, `${wakesAtMs.length} times`);
    wakesAtMs.forEach((atMs, at) => {
      assert(atMs - (wakesAtMs[at - 1] ?? -5000) >= 5000);
    });
  });

  it('are not forgotten while the API server cannot be asked, which is tried less and less often', async () => {
    const { clock, wakesAtMs, ended, room, state, waker } = setUp();
    state.trouble = 'refused';
    waker.refused();
    room.returns++;
    await clock.advance(300_000);
    assert(wakesAtMs.length >= 6 && wakesAtMs.length <= 9, `${wakesAtMs.length} times`);
    const gapsMs = wakesAtMs.slice(1).map((atMs, at) => atMs - (wakesAtMs[at] ?? 0));
    assert.deepEqual(gapsMs.map((gapMs) => Math.floor(gapMs / 1000)).slice(0, 6), [5, 10, 20, 40, 60, 60]);
    state.trouble = 'none';
    await clock.advance(61_000);
    assert.equal(ended.at(-1), 'done');
    const { length } = wakesAtMs;
    await clock.advance(300_000);
    assert.equal(wakesAtMs.length, length);
  });

  it('are made to ask again by the next call where one is never answered', async () => {
    const { clock, ended, room, state, waker } = setUp();
    state.trouble = 'silent';
    waker.refused();
    room.returns++;
    await clock.advance(7000);
    assert.deepEqual(ended, ['failed']);
    state.trouble = 'none';
    await clock.advance(11_000);
    assert.deepEqual(ended, ['failed', 'done']);
  });

  it('hear of room that came back during a call from the next one', async () => {
    const { clock, wakesAtMs, ended, room, state, waker } = setUp();
    state.trouble = 'silent';
    waker.refused();
    room.returns++;
    await clock.advance(2000);
    waker.refused();
    state.trouble = 'none';
    await clock.advance(60_000);
    assert.deepEqual([wakesAtMs.length, ended], [2, ['failed', 'done']]);
    waker.refused();
    room.returns++;
    await clock.advance(6000);
    assert.equal(wakesAtMs.length, 3);
  });

  it('hear nothing from one that does not answer them, until it does', async () => {
    const { clock, wakesAtMs, room, state, waker } = setUp();
    waker.refused();
    room.returns++;
    state.isAnswering = false;
    await clock.advance(60_000);
    assert.deepEqual(wakesAtMs, []);
    state.isAnswering = true;
    await clock.advance(2000);
    assert.equal(wakesAtMs.length, 1);
  });

  it('are made to ask again once by one that begins to answer: it does not know whom another refused', async () => {
    const { clock, wakesAtMs, waker } = setUp();
    waker.answers();
    waker.answers();
    await clock.advance(60_000);
    assert.equal(wakesAtMs.length, 1);
  });

  it('hear nothing more from one that has stopped', async () => {
    const { clock, wakesAtMs, room, state, waker } = setUp();
    state.trouble = 'silent';
    waker.refused();
    room.returns++;
    await clock.advance(1500);
    await waker.stop();
    waker.refused();
    waker.answers();
    await clock.advance(60_000);
    assert.deepEqual([wakesAtMs.length, clock.pendingTimers], [1, 0]);
  });
});
