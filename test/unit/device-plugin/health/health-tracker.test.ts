import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Logger, silentLogger } from '../../../../common/logging/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import { type HealthChange, HealthTracker, type HealthTrackerOptions } from '../../../../device-plugin/health/index.ts';
import { deviceId } from '../../../../device-plugin/kubelet/index.ts';
import type { Cause, UnitState } from '../../../../device-plugin/resources/index.ts';

const DOWN: Cause = { code: 'link', detail: 'port 1 of mlx5_0 is DOWN' };
const STUCK: Cause = { code: 'unreadable', detail: 'the state of port 1 of mlx5_0 cannot be read' };
const A = deviceId('0000:18:00.0-0');
const TIMES = { recoverMs: 1000, maxRecoverMs: 8000, calmMs: 60_000 };

function unit(causes: readonly Cause[], id = A, device = '0000:18:00.0'): UnitState {
  return { id, device, numaNodes: [0], pcieRoot: 'pci0000:15', causes };
}

function tracked(options: Partial<HealthTrackerOptions> = {}) {
  const clock = new SimClock();
  const changes: HealthChange[] = [];
  let calls = 0;
  const tracker = new HealthTracker({
    clock,
    logger: silentLogger,
    ...TIMES,
    onChange: (change) => changes.push(change),
    ...options,
  });
  tracker.watch(() => calls++);
  return { clock, tracker, changes, calls: () => calls };
}

describe('the health of units', () => {
  it('begins with what is seen first: one that is well is healthy at once, and that is no change', () => {
    const { tracker, changes } = tracked();
    tracker.update([unit([]), unit([DOWN], deviceId('other'), 'other')]);
    assert.equal(tracker.healthy(A), true);
    assert.deepEqual(tracker.causesOf(A), []);
    assert.equal(tracker.healthy(deviceId('other')), false);
    assert.deepEqual(
      changes.map(({ id, healthy, causes }) => [id, healthy, causes]),
      [['other', false, [DOWN]]],
    );
  });

  it('does not count a unit that it does not know as healthy', () => {
    const { tracker } = tracked();
    assert.equal(tracker.healthy(A), false);
    assert.deepEqual(tracker.causesOf(A), []);
  });

  it('is bad with the first cause, and good again when all have been gone for as long as it takes', async () => {
    const { clock, tracker, changes, calls } = tracked();
    tracker.update([unit([])]);
    await clock.advance(5000);
    tracker.update([unit([DOWN])]);
    assert.equal(tracker.healthy(A), false);
    assert.deepEqual(tracker.causesOf(A), [DOWN]);
    tracker.update([unit([])]);
    assert.equal(tracker.healthy(A), false);
    await clock.advance(999);
    assert.equal(tracker.healthy(A), false);
    await clock.advance(2);
    assert.equal(tracker.healthy(A), true);
    assert.deepEqual(tracker.causesOf(A), []);
    assert.deepEqual(
      changes.map(({ healthy, causes, atMs }) => [healthy, causes, atMs - clock.nowMs()]),
      [
        [false, [DOWN], -1001],
        [true, [], 0],
      ],
    );
    assert.equal(calls(), 3); // it came, it fell, it is well
    assert.equal(clock.pendingTimers, 0);
  });

  it('says while it recovers what was the matter, and how long it has to be well', () => {
    const { tracker } = tracked();
    tracker.update([unit([DOWN])]);
    tracker.update([unit([])]);
    assert.deepEqual(tracker.causesOf(A), [
      { code: 'link', detail: `${DOWN.detail} (over, counts until it has been so for 1000 ms)` },
    ]);
  });

  it('takes twice as long with each failure that follows soon, up to a bound, and forgives in the end', async () => {
    const { clock, tracker } = tracked();
    tracker.update([unit([])]);
    const recoveryMs = async (): Promise<number> => {
      tracker.update([unit([DOWN])]);
      tracker.update([unit([])]);
      const fromMs = clock.monotonicMs();
      while (!tracker.healthy(A)) await clock.advance(1);
      return clock.monotonicMs() - fromMs;
    };
    const waits: number[] = [];
    for (let i = 0; i < 6; i++) waits.push(await recoveryMs());
    assert.deepEqual(waits, [1001, 2001, 4001, 8001, 8001, 8001]);
    await clock.advance(60_000);
    assert.equal(await recoveryMs(), 1001);
  });

  it('takes twice as long also when it fails before it has recovered', async () => {
    const { clock, tracker, changes } = tracked();
    tracker.update([unit([DOWN])]);
    tracker.update([unit([])]);
    await clock.advance(900);
    tracker.update([unit([DOWN])]);
    tracker.update([unit([])]);
    await clock.advance(1900);
    assert.equal(tracker.healthy(A), false);
    await clock.advance(200);
    assert.equal(tracker.healthy(A), true);
    assert.deepEqual(
      changes.map(({ healthy }) => healthy),
      [false, true],
    );
  });

  it('tells when the cause is another one, not when the same is said in other words', () => {
    const { tracker, changes, calls } = tracked();
    tracker.update([unit([DOWN])]);
    tracker.update([unit([{ ...DOWN, detail: 'port 1 of mlx5_0 is INIT' }])]);
    assert.equal(changes.length, 1);
    assert.deepEqual(tracker.causesOf(A), [{ ...DOWN, detail: 'port 1 of mlx5_0 is INIT' }]);
    tracker.update([unit([STUCK])]);
    tracker.update([unit([STUCK, DOWN])]);
    assert.deepEqual(
      changes.map(({ causes }) => causes.map(({ code }) => code)),
      [['link'], ['unreadable'], ['unreadable', 'link']],
    );
    assert.equal(calls(), 1); // nobody's health is another
  });

  it('forgets units that are not there any more, and takes them for new when they come back', async () => {
    const { clock, tracker, calls } = tracked();
    tracker.update([unit([DOWN])]);
    tracker.update([]);
    assert.equal(tracker.healthy(A), false);
    tracker.update([unit([])]);
    assert.equal(tracker.healthy(A), true);
    assert.equal(calls(), 3);
    await clock.advance(10_000);
    assert.equal(calls(), 3);
  });

  it('writes one line for the units of a device that change alike', async () => {
    const lines: unknown[] = [];
    const at =
      (level: string) =>
      (message: string, fields: unknown): void => {
        lines.push([level, message, fields]);
      };
    const logger: Logger = { ...silentLogger, info: at('info'), warn: at('warn') };
    const { clock, tracker } = tracked({ logger });
    const slots = (causes: readonly Cause[]): UnitState[] =>
      Array.from({ length: 16 }, (_, i) => unit(causes, deviceId(`0000:18:00.0-${i}`)));
    tracker.update(slots([]));
    assert.deepEqual(lines, []);
    tracker.update(slots([DOWN]));
    tracker.update(slots([]));
    await clock.advance(1001);
    assert.deepEqual(lines, [
      ['warn', 'device is unhealthy', { device: '0000:18:00.0', units: 16, causes: [DOWN.detail] }],
      ['info', 'device is healthy', { device: '0000:18:00.0', units: 16 }],
    ]);
  });

  it('does nothing more once it is closed', async () => {
    const { clock, tracker, changes, calls } = tracked();
    tracker.update([unit([DOWN])]);
    tracker.update([unit([])]);
    tracker.close();
    assert.equal(clock.pendingTimers, 0);
    await clock.advance(10_000);
    tracker.update([unit([STUCK])]);
    assert.deepEqual([changes.length, calls()], [1, 1]);
  });

  it('whatever happens: never healthy with a cause or sooner than the shortest wait, healthy after the longest', async () => {
    const step = fc.record({
      advanceMs: fc.integer({ min: 0, max: 3000 }),
      causes: fc.subarray([DOWN, STUCK]),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const { clock, tracker, changes } = tracked();
        let goneSinceMs = Number.NEGATIVE_INFINITY;
        let wasIll = false;
        let told: boolean | undefined;
        for (const { advanceMs, causes } of steps) {
          tracker.update([unit(causes)]);
          if (causes.length > 0) {
            wasIll = true;
            goneSinceMs = Number.POSITIVE_INFINITY;
          } else if (goneSinceMs === Number.POSITIVE_INFINITY) {
            goneSinceMs = clock.monotonicMs();
          }
          await clock.advance(advanceMs);
          const goneMs = clock.monotonicMs() - goneSinceMs;
          if (causes.length > 0) assert.equal(tracker.healthy(A), false);
          else if (!wasIll || goneMs > TIMES.maxRecoverMs + 1) assert.equal(tracker.healthy(A), true);
          else if (goneMs < TIMES.recoverMs) assert.equal(tracker.healthy(A), false);
          assert.equal(tracker.healthy(A), tracker.causesOf(A).length === 0);
          told = changes.at(-1)?.healthy ?? true;
          assert.equal(tracker.healthy(A), told);
        }
        tracker.close();
        assert.equal(clock.pendingTimers, 0);
      }),
      { numRuns: 60, seed: 20261121 },
    );
  });
});
