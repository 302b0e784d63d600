import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { layoutOf } from '../../common/layout/index.ts';
import { CommandLineCluster } from '../integration/cli/local-cluster.ts';
import { csiSanityProgram, hasGo, runCsiSanity, type SanityResult } from '../support/csi/csi-sanity.ts';
import { documentedSkips } from '../support/csi/documented-skips.ts';
import { skip } from '../support/skip.ts';

const VOLUME_BYTES = 32 << 20;
const BUILD_TIMEOUT_MS = 10 * 60_000;
/** Read by `nabu csi`: csi-sanity fills a node to its limit, so the limit is small. */
const LIMIT_VARIABLE = 'NABU_CSI_MAX_VOLUMES';

/** csi-sanity's words for each skip with how often it said them. */
function counted(result: SanityResult): string[] {
  const groups = Object.groupBy(result.skipped, ({ reason }) => reason);
  return Object.entries(groups)
    .map(([message, specs]) => `${message}: ${specs?.length ?? 0}`)
    .sort();
}

describe('csi-sanity 5.5.0 against a cluster: control, six storage nodes, volume servers and the plugin', () => {
  let cluster: CommandLineCluster;
  const limitBefore = process.env[LIMIT_VARIABLE];

  before(async function () {
    if (!(await hasGo())) skip(this, 'Go, which builds csi-sanity');
    this.timeout(BUILD_TIMEOUT_MS);
    await csiSanityProgram();
    process.env[LIMIT_VARIABLE] = '8';
    cluster = await CommandLineCluster.make();
    await cluster.up();
    await cluster.json('volume', 'umount', 'demo'); // it counts as well
  });

  after(async () => {
    if (limitBefore === undefined) delete process.env[LIMIT_VARIABLE];
    else process.env[LIMIT_VARIABLE] = limitBefore;
    await (cluster as CommandLineCluster | undefined)?.remove();
  });

  for (const accessType of ['mount', 'block'] as const) {
    it(`fails nothing with ${accessType} volumes, skips what docs/csi.md lists, and leaves nothing behind`, async () => {
      const endpoint = layoutOf(cluster.dir).csiSocket;
      const result = await runCsiSanity({ endpoint, folder: cluster.dir, accessType, volumeBytes: VOLUME_BYTES });
      assert.deepEqual(result.failed, [], await lastWords());
      assert.ok(result.passed.length >= 59, `only ${result.passed.length} specs ran`);
      const documented = (await documentedSkips()).map(({ message, specs }) => `${message}: ${specs}`);
      assert.deepEqual(counted(result), documented.sort());
      assert.deepEqual(await cluster.loopDevices(), []);
      const { volumes } = await cluster.status();
      assert.deepEqual(
        volumes.map(({ name }) => name),
        ['demo'],
      );
    });
  }

  async function lastWords(): Promise<string> {
    const log = await readFile(layoutOf(cluster.dir).logFile('csi'), 'utf8').catch(() => '');
    return `specs failed; the plugin's last words:\n${log.slice(-4000)}`;
  }
});
