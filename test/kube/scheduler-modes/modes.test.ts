import assert from 'node:assert/strict';
import { skip } from '../../support/skip.ts';
import { Chart } from '../chart.ts';
import { Plane } from '../plane/plane.ts';
import type { Mix } from '../scale/workload.ts';
import type { ChartInstall } from './chart-install.ts';
import { ModesSite, type Placed } from './modes-site.ts';
import { SECOND_SCHEDULER, WEBHOOK_ALONE } from './values.ts';

/** Two hundred of ours, and some of which nobody knows anything. */
const MIX: Mix = { made: 40, madeAndModel: 40, model: 120, bound: 0, near: 0, strangers: 50 };
const OURS = 200;
const START_MS = 240_000;
const RUN_MS = 280_000;
/** As for the cluster's own scheduler that asks: over all nodes. */
const ASKING_REGRET = 0.15;
/** docs/scheduler-extender.md says why: the scheduler looks at a tenth of 5,000 nodes, and a preference does not change which. */
const ADVISED_REGRET = 0.5;

describe('two hundred pods where the scheduler of the cluster cannot be configured', () => {
  let chart: Chart;
  let site: ModesSite;

  before(async function () {
    const missing = await Plane.missing({ fleet: true });
    if (missing !== '') skip(this, missing);
    chart = await Chart.open(this);
    this.timeout(START_MS);
    site = await ModesSite.start(MIX);
    await site.plane.startScheduler();
  });
  after(async () => {
    await (site as ModesSite | undefined)?.stop();
  });

  async function placedWith(
    values: object,
    prefix: string,
    start: (install: ChartInstall) => Promise<unknown>,
  ): Promise<Placed> {
    const install = await site.install(chart, values);
    try {
      await start(install);
      const placed = await site.run(prefix);
      const percent = (placed.regret * 100).toFixed(1);
      process.stdout.write(
        `      ${prefix}: regret ${percent} %, ${placed.bestNodes} of ${placed.ours} at the best, ${placed.cutOff.length} cut off\n`,
      );
      return placed;
    } finally {
      await install.stop();
    }
  }

  it('go where a second scheduler that asks puts them, beside the one of the cluster', async function () {
    this.timeout(RUN_MS);
    const placed = await placedWith(SECOND_SCHEDULER, 'second', (install) => install.startSecondScheduler());
    assert.equal(placed.ours, OURS);
    assert.deepEqual([placed.overcommitted, placed.cutOff], [[], []]);
    assert(placed.regret < ASKING_REGRET, String(placed.regret));
  });

  it('go less near by what the webhook has written into them, and nothing is overcommitted either', async function () {
    this.timeout(RUN_MS);
    const placed = await placedWith(WEBHOOK_ALONE, 'webhook', async () => undefined);
    assert.equal(placed.ours, OURS);
    assert.deepEqual([placed.overcommitted, placed.unseen], [[], []]);
    assert(placed.regret < ADVISED_REGRET, String(placed.regret));
  });
});
