import assert from 'node:assert/strict';
import { NabuError } from '../../../common/errors/index.ts';
import { silentLogger } from '../../../common/logging/index.ts';
import { SimClock } from '../../../common/ports/index.ts';
import { Flights } from '../../../csi/flights.ts';
import { Readiness } from '../../../csi/identity/readiness.ts';

const FOREVER = new AbortController().signal;

function flightsOn(clock: SimClock): Flights {
  return new Flights({ name: 'test', clock, workTimeoutMs: 1000, maxWaiters: 2 });
}

describe('calls in flight', () => {
  it('share one piece of work when they are equal, whatever the order of their fields', async () => {
    const flights = flightsOn(new SimClock());
    let runs = 0;
    const work = async () => ++runs;
    const call = (request: object) => flights.run({ operation: 'op', key: 'v', request, signal: FOREVER }, work);
    const results = await Promise.all([
      call({ a: 1n, b: { c: 2 } }),
      call({ b: { c: 2 }, a: 1n }),
      call({ a: 2n, b: { c: 2 } }),
    ]);
    assert.deepEqual(results, [1, 1, 2]);
  });

  it('do not overlap on one key, and do on two', async () => {
    const flights = flightsOn(new SimClock());
    const open: string[] = [];
    const most: number[] = [];
    const call = (key: string, request: number) =>
      flights.run({ operation: 'op', key, request, signal: FOREVER }, async () => {
        open.push(key);
        most.push(open.filter((one) => one === key).length);
        await new Promise((resolve) => setImmediate(resolve));
        open.splice(open.indexOf(key), 1);
      });
    await Promise.all([call('a', 1), call('a', 2), call('b', 3)]);
    assert.deepEqual(most, [1, 1, 1]);
  });

  it('leave the work running when a caller goes away, and the next caller joins it', async () => {
    const flights = flightsOn(new SimClock());
    let finish: (value: string) => void = () => undefined;
    const result = new Promise<string>((resolve) => {
      finish = resolve;
    });
    const leaving = new AbortController();
    const call = (signal: AbortSignal) => flights.run({ operation: 'op', key: 'v', request: 1, signal }, () => result);
    const first = call(leaving.signal);
    leaving.abort(NabuError.of('CANCELLED', { operation: 'op' }));
    await assert.rejects(first, { code: 'CANCELLED' });
    const second = call(FOREVER);
    finish('done');
    assert.equal(await second, 'done');
  });

  it('are refused when too many different ones wait for one key', async () => {
    const flights = flightsOn(new SimClock());
    let finish: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const call = (request: number) => flights.run({ operation: 'op', key: 'v', request, signal: FOREVER }, () => gate);
    const waiting = [call(1), call(2), call(3)];
    await assert.rejects(call(4), { code: 'QUEUE_FULL' });
    finish();
    await Promise.all(waiting);
  });

  it('tell the work when its time is up', async () => {
    const clock = new SimClock();
    const result = flightsOn(clock).run(
      { operation: 'op', key: 'v', request: 1, signal: FOREVER },
      async (deadline) => {
        await clock.sleep(5000, deadline.signal);
      },
    );
    const refused = assert.rejects(result, { code: 'TIMEOUT' });
    await clock.advance(1500);
    await refused;
  });
});

describe('readiness', () => {
  it('is every part saying yes in time; silence and errors count as no', async () => {
    const clock = new SimClock();
    const answers = [
      async () => true,
      async () => false,
      () => Promise.reject(new TypeError('x')),
      () => new Promise<boolean>(() => undefined),
    ];
    for (const [at, answer] of answers.entries()) {
      const parts = [
        { name: 'sure', ready: async () => true },
        { name: 'part', ready: answer },
      ];
      const checked = new Readiness({ parts, clock, logger: silentLogger, timeoutMs: 100 }).check({ signal: FOREVER });
      await clock.advance(200);
      assert.equal(await checked, at === 0, `answer ${at}`);
    }
  });
});
