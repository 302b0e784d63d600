import assert from 'node:assert/strict';
import { playBlobs } from './play-blobs.ts';

const SEEDS = Number(process.env.NABU_SIM_SEEDS ?? 100);
const FIRST_SEED = Number(process.env.NABU_SIM_SEED ?? 1);
describe('blobs on failing nodes', function () {
  this.timeout(600_000);

  it(`are acknowledged only when they are safe, and never read as anything else (${SEEDS} seeds)`, async () => {
    const sum = { puts: 0, refused: 0, reads: 0, unreadable: 0, deletes: 0, survived: 0 };
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
      try {
        const played = await playBlobs(seed);
        for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += played[name];
      } catch (err) {
        throw new Error(`seed ${seed} fails; NABU_SIM_SEED=${seed} NABU_SIM_SEEDS=1 plays it again`, { cause: err });
      }
    }
    if (SEEDS < 20) return;
    // Schedules in which nothing happens would prove nothing.
    assert.ok(sum.puts >= SEEDS * 10 && sum.refused >= SEEDS, JSON.stringify(sum));
    assert.ok(sum.reads >= SEEDS * 20 && sum.unreadable >= SEEDS, JSON.stringify(sum));
    assert.ok(sum.deletes >= SEEDS * 4 && sum.survived >= SEEDS * 2, JSON.stringify(sum));
  });
});
