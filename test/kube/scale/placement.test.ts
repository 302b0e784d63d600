import assert from 'node:assert/strict';
import { skip } from '../../support/skip.ts';
import { type Judged, regret } from './judge.ts';
import { missingForScale } from './programs.ts';
import { type Run, ScaleSite } from './scale-site.ts';
import type { Mix } from './workload.ts';

/** A thousand pods: half with claims of ours, and half of the others strangers. */
const MIX: Mix = { made: 200, madeAndModel: 150, bound: 75, near: 75, model: 250, strangers: 250 };
const SEED = 20_261_121;
const START_MS = 240_000;
const RUN_MS = 280_000;

describe('a thousand pods for five thousand nodes', () => {
  let scale: ScaleSite;
  let run: Run;

  before(async function () {
    const missing = await missingForScale();
    if (missing !== '') skip(this, missing);
    this.timeout(START_MS);
    scale = await ScaleSite.start({ seed: SEED, mix: MIX });
  });
  after(async () => {
    await scale?.stop();
  });

  it('are all placed where an oracle that tries every node would let them, and strangers without a question', async function () {
    this.timeout(RUN_MS);
    run = await scale.run({ mix: MIX, prefix: 'p' });
    report(run);
    assert.deepEqual(run.faults, []);
    assert.equal(run.judged.length, run.pods.filter(({ isOurs }) => isOurs).length);
  });
});

/** For those who read the log of a run. */
function report({ judged, seconds, calls, pods }: Run): void {
  const say = (text: string): unknown => process.stdout.write(`      ${text}\n`);
  say(`${pods.length} pods in ${seconds.toFixed(1)} s, ${calls} calls`);
  const kinds = new Map<string, readonly Judged[]>([['all', judged]]);
  for (const one of judged) {
    const kind = `${one.pod.oracle.volumes} volumes, reads ${one.pod.oracle.readings.length}, gpu ${one.pod.oracle.asks.gpu}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), one]);
  }
  const percent = (part: number): string => `${(part * 100).toFixed(2)} %`;
  for (const [kind, ones] of kinds) {
    const offered = regret(ones, ({ bestOffered }) => bestOffered);
    const all = regret(ones, ({ bestOfAll }) => bestOfAll);
    say(
      `${kind}: ${ones.length}, mean offered ${Math.round(ones.reduce((sum, one) => sum + one.offered, 0) / ones.length)}; ` +
        `regret of offered ${percent(offered.ofSeconds)} (pods ${percent(offered.ofPods)}), of all ${percent(all.ofSeconds)} (pods ${percent(all.ofPods)})`,
    );
  }
}
