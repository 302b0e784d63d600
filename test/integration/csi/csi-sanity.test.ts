import assert from 'node:assert/strict';
import { csiSanityProgram, hasGo, runCsiSanity } from '../../support/csi/csi-sanity.ts';
import { documentedSkips } from '../../support/csi/documented-skips.ts';
import { PluginFixture } from '../../support/csi/plugin-fixture.ts';
import { skip } from '../../support/skip.ts';

const VOLUME_BYTES = 64 << 20;
const BUILD_TIMEOUT_MS = 10 * 60_000;

describe('csi-sanity 5.5.0 against the plugin over control and loop devices', () => {
  let fixture: PluginFixture;

  before(async function () {
    if (!(await hasGo())) skip(this, 'Go, which builds csi-sanity');
    this.timeout(BUILD_TIMEOUT_MS);
    await csiSanityProgram();
  });

  beforeEach(async () => {
    fixture = await PluginFixture.start({ flags: { maxVolumes: 8 } });
  });

  afterEach(async () => {
    await fixture.destroy();
  });

  for (const accessType of ['mount', 'block'] as const) {
    it(`fails nothing with ${accessType} volumes, and skips only what docs/csi.md lists`, async () => {
      const { endpoint, folder } = fixture;
      const result = await runCsiSanity({ endpoint, folder, accessType, volumeBytes: VOLUME_BYTES });
      assert.deepEqual(result.failed, []);
      assert.ok(result.passed.length >= 59, `only ${result.passed.length} specs ran`);
      const counted = Object.entries(Object.groupBy(result.skipped, ({ reason }) => reason)).map(
        ([message, specs]) => `${message}: ${specs?.length ?? 0}`,
      );
      const documented = (await documentedSkips()).map(({ message, specs }) => `${message}: ${specs}`);
      assert.deepEqual(counted.sort(), documented.sort());
      assert.deepEqual(fixture.host.openIds, [], 'a volume was left open');
    });
  }
});
