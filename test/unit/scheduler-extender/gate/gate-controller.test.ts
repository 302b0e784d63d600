import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import { ExtenderHealth, GateController } from '../../../../scheduler-extender/gate/index.ts';
import { GatedApi, gatedPods as pods } from '../../../support/extender/gated-api.ts';

const RATE = { perSecond: 10, burst: 5, window: 1000 };

describe('the gate', () => {
  let clock: SimClock;
  let api: GatedApi;
  let closed: string | undefined;
  const running: GateController[] = [];

  function gate(isClosed: () => string | undefined = () => closed): GateController {
    const options = { api, rate: RATE, closed: isClosed, isPlaced: () => false, clock, logger: silentLogger };
    const controller = new GateController(options);
    running.push(controller);
    controller.start();
    return controller;
  }
  beforeEach(() => {
    clock = new SimClock();
    api = new GatedApi(clock);
    closed = undefined;
  });
  afterEach(async () => {
    for (const controller of running.splice(0)) await controller.stop();
  });

  it('lets a burst through at once and the others at the rate, the first first', async () => {
    api.add(...pods(25));
    gate();
    await clock.advance(1);
    assert.equal(api.lifted.length, 5);
    await clock.advance(1000);
    assert.equal(api.lifted.length, 15);
    await clock.advance(1100);
    assert.deepEqual(
      api.lifted.map(({ name }) => name),
      pods(25).map(({ name }) => name),
    );
    for (const { atMs } of api.lifted) {
      const within = api.lifted.filter((other) => other.atMs >= atMs && other.atMs < atMs + 1000).length;
      assert(within <= RATE.burst + RATE.perSecond, `${within} in a second`);
    }
  });

  it('is closed while no extender is healthy, and opens with no more than a burst', async () => {
    closed = 'no extender answers';
    api.add(...pods(25));
    const controller = gate();
    await clock.advance(60_000);
    assert.deepEqual([api.lifted.length, controller.waiting], [0, 25]);
    closed = undefined;
    await clock.advance(251);
    assert(api.lifted.length >= 5 && api.lifted.length <= 8, String(api.lifted.length));
    closed = 'no extender answers';
    const before = api.lifted.length;
    await clock.advance(10_000);
    assert.equal(api.lifted.length, before);
  });

  it('goes on after a crash where it was, and lifts each gate once', async () => {
    api.add(...pods(20));
    const crashed = gate();
    await clock.advance(500);
    await crashed.stop();
    const before = api.lifted.length;
    assert(before > 0 && before < 20);
    gate();
    await clock.advance(3000);
    assert.equal(new Set(api.lifted.map(({ name }) => name)).size, 20);
    assert.equal(api.lifted.length, 20);
  });

  it('leaves it to the one that leads', async () => {
    let leader = 'a';
    const of = (name: string): GateController => gate(() => (leader === name ? undefined : 'another one leads'));
    const [a, b] = [of('a'), of('b')];
    api.add(...pods(12));
    await clock.advance(100);
    assert.deepEqual([a.lifted > 0, b.lifted], [true, 0]);
    leader = 'b';
    await clock.advance(3000);
    assert.equal(a.lifted + b.lifted, 12);
    assert(b.lifted > 0);
  });

  it('tries again what could not be lifted, and does not keep others waiting for it', async () => {
    api.fails = ({ name }) => name === 'p0';
    api.add(...pods(5));
    const controller = gate();
    await clock.advance(10);
    assert.deepEqual([api.lifted.length, controller.waiting], [4, 1]);
    api.add(...pods(1, 100));
    await clock.advance(200);
    assert.equal(api.lifted.at(-1)?.name, 'p100');
    api.fails = undefined;
    await clock.advance(1500);
    assert.equal(api.lifted.at(-1)?.name, 'p0');
  });

  it('forgets pods that are gone', async () => {
    closed = 'not yet';
    api.add(...pods(3));
    const controller = gate();
    controller.remove('u1');
    controller.replace(pods(1).map((pod) => [pod, 'gate']));
    assert.equal(controller.waiting, 1);
  });
});

describe('the health of an extender', () => {
  it('is bad until it has answered, while it hangs, and good again when it answers', async () => {
    const clock = new SimClock();
    let answer: 'good' | 'hang' | 'bad' = 'hang';
    const health = new ExtenderHealth(
      (signal) => {
        if (answer === 'good') return Promise.resolve();
        if (answer === 'bad') return Promise.reject(new Error('another one answers'));
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
      },
      clock,
      silentLogger,
    );
    health.start();
    assert.match(health.unhealthy() ?? '', /not been asked/);
    await clock.advance(600);
    assert.match(health.unhealthy() ?? '', /not within 500 ms/);
    answer = 'good';
    await clock.advance(1100);
    assert.equal(health.unhealthy(), undefined);
    answer = 'hang';
    await clock.advance(1100);
    assert.match(health.unhealthy() ?? '', /not within 500 ms/);
    answer = 'bad';
    await clock.advance(1600);
    assert.match(health.unhealthy() ?? '', /another one answers/);
    await health.stop();
  });

  describe('and its Service', () => {
    let clock: SimClock;
    let answer: 'good' | 'hang' | 'bad';
    let isElected: boolean;
    let cuts: number;
    let health: ExtenderHealth;

    beforeEach(async () => {
      clock = new SimClock();
      answer = 'good';
      isElected = true;
      cuts = 0;
      const probe = (signal: AbortSignal): Promise<void> => {
        if (answer === 'good') return Promise.resolve();
        if (answer === 'bad') return Promise.reject(new Error('refused'));
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
      };
      health = new ExtenderHealth(probe, clock, silentLogger, async () => {
        if (isElected) cuts++;
        return isElected;
      });
      health.start();
      await clock.advance(1000);
    });
    afterEach(() => health.stop());

    it('are parted once when it begins to hang, and again only when it has answered since', async () => {
      answer = 'hang';
      await clock.advance(900);
      assert.equal(cuts, 0, 'one late answer is no hang');
      await clock.advance(60_000);
      assert.equal(cuts, 1);
      answer = 'good';
      await clock.advance(1000);
      answer = 'hang';
      await clock.advance(3000);
      assert.equal(cuts, 2);
    });

    it('stay together where it refuses, or another one lifts gates', async () => {
      answer = 'bad';
      await clock.advance(5000);
      assert.equal(cuts, 0);
      answer = 'good';
      await clock.advance(1000);
      [answer, isElected] = ['hang', false];
      await clock.advance(5000);
      assert.equal(cuts, 0);
      isElected = true;
      await clock.advance(1000);
      assert.equal(cuts, 1);
    });
  });
});
