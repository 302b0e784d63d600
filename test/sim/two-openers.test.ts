import assert from 'node:assert/strict';
import { playOpeners, type Schedule, type Stack } from './play-openers.ts';
import { playStorm } from './storm-schedule.ts';
import { playTakeovers } from './takeover-schedule.ts';

const SEEDS = Number(process.env.NABU_SIM_SEEDS ?? 400);
const FIRST_SEED = Number(process.env.NABU_SIM_SEED ?? 1);
/** Plays the schedules and asks for what must have happened in them: one in which nothing happens would prove nothing. */
async function playAll(seeds: number, stack: Stack, schedule: Schedule): Promise<void> {
  let [acknowledged, openers, opened] = [0, 0, 0];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + seeds; seed++) {
    try {
      const played = await playOpeners(seed, stack, schedule);
      acknowledged += played.acknowledged;
      openers += played.openers;
      opened += played.opened ? 1 : 0;
    } catch (err) {
      throw new Error(`seed ${seed} fails; NABU_SIM_SEED=${seed} NABU_SIM_SEEDS=1 plays it again`, { cause: err });
    }
  }
  if (seeds < 20) return;
  assert.ok(openers >= seeds * 1.3, `${openers} openings`);
  assert.ok(acknowledged >= seeds * 3, `${acknowledged} acknowledged writes`);
  // The others lost more devices than the promises cover; without that the schedule itself insists.
  assert.ok(opened >= seeds * 0.6, `${opened} last openings`);
}

describe('two openers of one volume', function () {
  this.timeout(600_000);

  const storms = Math.ceil(SEEDS / 2);
  const [realStorms, realTakeovers] = [Math.ceil(SEEDS / 20), Math.ceil(SEEDS / 6)];

  it(`leave one line of history in which no acknowledged write is lost, in any weather (${storms} seeds)`, async () => {
    await playAll(storms, 'model', playStorm);
  });

  it(`do so when each reaches just the nodes that it must not do with (${SEEDS} seeds)`, async () => {
    await playAll(SEEDS, 'model', playTakeovers);
  });

  it(`do so with the real client and nodes too (${realStorms} and ${realTakeovers} seeds)`, async () => {
    await playAll(realStorms, 'real', playStorm);
    await playAll(realTakeovers, 'real', playTakeovers);
  });
});
