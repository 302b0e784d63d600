import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import { SCHEDULER_ADMISSION_CONFIG } from '../../../../scheduler-extender/admission/index.ts';
import { GateController, type GatedPod } from '../../../../scheduler-extender/gate/index.ts';
import { GatedApi, gatedPods } from '../../../support/extender/gated-api.ts';
import { SchedulerModel } from '../../../support/extender/scheduler-model.ts';

/** The httpTimeout of the shipped KubeSchedulerConfiguration. */
const HTTP_TIMEOUT_MS = 100;
/** 250 pods a second, as kube-scheduler with 5,000 nodes. */
const TURN_MS = 4;
const WINDOW = SCHEDULER_ADMISSION_CONFIG.options.gateWindow.fallback ?? 0;
const RATE = { perSecond: 100, burst: 200, window: WINDOW };

describe('the window of the gate', () => {
  let clock: SimClock;
  let api: GatedApi;
  let scheduler: SchedulerModel;
  let closed: string | undefined;
  let placed: (uid: string) => boolean;
  const running: GateController[] = [];

  function gate(): GateController {
    const isPlaced = (uid: string): boolean => placed(uid);
    const options = { api, rate: RATE, closed: () => closed, isPlaced, clock, logger: silentLogger };
    const controller = new GateController(options);
    running.push(controller);
    controller.start();
    return controller;
  }
  beforeEach(() => {
    clock = new SimClock();
    api = new GatedApi(clock, (pod) => scheduler.add(pod));
    const onJudged = ({ uid }: GatedPod): void => api.judge(uid);
    scheduler = new SchedulerModel({ clock, turnMs: TURN_MS, httpTimeoutMs: HTTP_TIMEOUT_MS, onJudged });
    closed = undefined;
    placed = () => false;
  });
  afterEach(async () => {
    for (const controller of running.splice(0)) await controller.stop();
  });

  /** Of what strangers would get alone, in the time that passes. */
  async function shareOfStrangers(ms: number): Promise<number> {
    const before = scheduler.strangers;
    await clock.advance(ms);
    return ((scheduler.strangers - before) * TURN_MS) / ms;
  }

  it('leaves strangers four fifths of the loop in every five seconds of a hang that nobody has noticed', async () => {
    gate();
    api.add(...gatedPods(100));
    await clock.advance(300); // in the middle of the burst
    scheduler.hangs = true;
    for (let second = 0; second < 60; second += 5) {
      const share = await shareOfStrangers(5000);
      assert(share >= 0.8, `${share} after ${second} s`);
    }
    assert(api.unjudged.size <= 5 * WINDOW, `${api.unjudged.size} ask`);
  });

  it('lets nobody through while as many as it holds are neither placed nor refused', async () => {
    scheduler.hangs = true;
    const controller = gate();
    api.add(...gatedPods(50));
    await clock.advance(10_000);
    assert.deepEqual([api.lifted.length, controller.unjudged, controller.waiting], [WINDOW, WINDOW, 50 - WINDOW]);
    scheduler.hangs = false;
    await clock.advance(12_000);
    assert.equal(api.lifted.length, 50);
    assert.equal(controller.unjudged, 0);
  });

  it('slows nobody down while pods are judged as fast as they come', async () => {
    gate();
    api.add(...gatedPods(500));
    await clock.advance(3500);
    assert.equal(api.lifted.length, 500);
  });

  it('counts pods that had been refused and come back with errors', async () => {
    const controller = gate();
    for (const pod of gatedPods(40, 1000)) api.fail(pod);
    api.add(...gatedPods(10));
    await clock.advance(5000);
    assert.deepEqual([api.lifted.length, controller.unjudged], [0, 40]);
    for (const pod of gatedPods(40, 1000)) api.judge(pod.uid);
    await clock.advance(1000);
    assert.equal(api.lifted.length, 10);
  });

  it('holds for each scheduler by itself', async () => {
    const controller = gate();
    for (const pod of gatedPods(40, 1000, 'nobody-runs-it')) api.fail(pod);
    api.add(...gatedPods(10));
    await clock.advance(1000);
    assert.deepEqual([api.lifted.length, controller.waiting], [10, 0]);
  });

  it('is the same after a crash', async () => {
    scheduler.hangs = true;
    const crashed = gate();
    api.add(...gatedPods(50));
    await clock.advance(1000);
    await crashed.stop();
    gate();
    await clock.advance(1000);
    assert.equal(api.lifted.length, WINDOW);
  });

  it('goes on past pods whose trouble is their own, as soon as others are judged', async () => {
    for (const pod of gatedPods(WINDOW)) scheduler.broken.add(pod.uid);
    gate();
    api.add(...gatedPods(200));
    await clock.advance(29_000);
    assert.equal(api.lifted.length, WINDOW);
    await clock.advance(5000);
    assert.equal(api.lifted.length, 200);
    assert.equal(api.unjudged.size, WINDOW);
  });

  it('lets no more than five times as many ask when none is judged, however long that takes', async () => {
    scheduler.hangs = true;
    gate();
    api.add(...gatedPods(200));
    await clock.advance(600_000);
    assert.equal(api.lifted.length, 5 * WINDOW);
    assert((await shareOfStrangers(60_000)) >= 0.8);
  });

  it('does not hold a long time against pods in which no extender was healthy', async () => {
    scheduler.hangs = true;
    gate();
    api.add(...gatedPods(200));
    await clock.advance(1000);
    closed = 'no extender answers';
    await clock.advance(600_000);
    closed = undefined;
    await clock.advance(2000);
    assert.equal(api.lifted.length, WINDOW);
  });

  it('knows from elsewhere that a node was chosen for a pod that waits for its volumes', async () => {
    placed = (uid) => Number(uid.slice(1)) < WINDOW;
    scheduler.hangs = true;
    gate();
    api.add(...gatedPods(50));
    await clock.advance(1000);
    assert.equal(api.lifted.length, 2 * WINDOW);
  });
});
