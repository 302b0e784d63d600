import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { realClock, SeededRandom } from '../../../common/ports/index.ts';
import { DRIVER_NAME } from '../../../device-plugin/dra/index.ts';
import { MACHINES } from '../../fixtures/machines/index.ts';
import { allocated } from '../../support/claim-objects.ts';
import { KubeApiDouble } from '../../support/kube-api-double.ts';
import { type Claim, KubeletDraDouble } from '../../support/kubelet-dra-double.ts';
import { canMakeDevices, PluginNode } from '../../support/plugin-node.ts';
import { PodResourcesDouble } from '../../support/pod-resources-double.ts';
import { skip } from '../../support/skip.ts';

const LIVES = 10;
const SEED = 11;
const CLAIMS = '/apis/resource.k8s.io/v1/namespaces/ml/resourceclaims';
const HCAS = ['hca-0000-1a-00-0', 'hca-0000-3c-00-0', 'hca-0000-9c-00-0', 'hca-0000-bc-00-0'];
const SHARE = { consumedCapacity: { 'nabustore.io/slots': '1' } };
/** As many at once as a kubelet that starts pods. */
const AT_ONCE = 4;

/** What is known of a claim from what was answered. */
type Fate = { readonly claim: Claim; state: 'prepared' | 'ended' | 'unknown' };

describe('nabu device-plugin that is killed while it prepares claims', function () {
  this.timeout(240_000);
  let node: PluginNode;
  let api: KubeApiDouble;
  let pods: PodResourcesDouble;
  let kubelet: KubeletDraDouble;

  before(async function () {
    if (!canMakeDevices()) skip(this, 'leave to make device files');
    api = await KubeApiDouble.start();
    api.put('/api/v1/nodes', { metadata: { name: 'node-1' } });
    node = new PluginNode(MACHINES['h200-8gpu']);
    node.configure({ resources: [{ kind: 'gds', version: '1.17', mode: 'dra', slots: 500 }] });
    pods = new PodResourcesDouble(join(node.kubeletDir, 'pod-resources', 'kubelet.sock'));
    await pods.start();
    kubelet = new KubeletDraDouble(node.kubeletDir);
  });

  after(async () => {
    (kubelet as KubeletDraDouble | undefined)?.[Symbol.dispose]();
    await (node as PluginNode | undefined)?.close();
    await (pods as PodResourcesDouble | undefined)?.stop();
    await (api as KubeApiDouble | undefined)?.[Symbol.asyncDispose]();
  });

  function start(): void {
    const kubeconfig = join(node.root, 'kubeconfig');
    const cluster = { server: api.access().server, 'insecure-skip-tls-verify': true };
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        'current-context': 'it',
        contexts: [{ name: 'it', context: { cluster: 'it', user: 'it' } }],
        clusters: [{ name: 'it', cluster }],
        users: [{ name: 'it', user: { token: 'it' } }],
      }),
    );
    node.start(['--kubeconfig', kubeconfig]);
  }

  const cdi = (): string => join(node.root, 'cdi');
  const specOf = (uid: string): string => join(cdi(), `nabustore.io-claim_${uid}.json`);
  const left = (uid: string): string[] =>
    readdirSync(node.root, { recursive: true })
      .map(String)
      .filter((path) => path.includes(uid));

  /** Everything that a runtime reads is whole at any moment. */
  function assertWhole(fates: readonly Fate[]): void {
    if (!existsSync(cdi())) return;
    for (const name of readdirSync(cdi()).filter((file) => file.endsWith('.json'))) {
      JSON.parse(readFileSync(join(cdi(), name), 'utf8'));
    }
    for (const { claim, state } of fates) {
      if (state === 'prepared') assert.ok(existsSync(specOf(claim.uid)), `the spec of ${claim.name} is lost`);
    }
  }

  /** Prepares and ends claims until the plugin is gone; what was not answered is not known. */
  async function storm(fates: Fate[], random: SeededRandom): Promise<void> {
    for (;;) {
      const open = fates.filter(({ state }) => state === 'prepared');
      const isNew = open.length < 5 || random.float() < 0.5;
      const fate = isNew ? newClaim(fates, random) : open[Math.floor(random.float() * open.length)];
      if (fate === undefined) continue;
      const before = fate.state;
      fate.state = 'unknown';
      try {
        if (before === 'prepared') await kubelet.unprepare(fate.claim);
        else await kubelet.prepare(fate.claim);
        fate.state = before === 'prepared' ? 'ended' : 'prepared';
      } catch {
        return;
      }
    }
  }

  function newClaim(fates: Fate[], random: SeededRandom): Fate {
    const device = HCAS[Math.floor(random.float() * HCAS.length)] ?? '';
    const { object, claim } = allocated(`c${fates.length}`, [{ device, ...SHARE }]);
    api.put(CLAIMS, object);
    const fate: Fate = { claim, state: 'unknown' };
    fates.push(fate);
    return fate;
  }

  it('keeps what it said is prepared, has nothing left of what it said has ended, and finishes the rest', async () => {
    const random = new SeededRandom(SEED);
    const fates: Fate[] = [];
    for (let life = 0; life < LIVES; life++) {
      const logged = node.log.length;
      start();
      await kubelet.register(DRIVER_NAME);
      await node.logged('registered with the kubelet', 20_000, logged);
      assertWhole(fates);
      for (const fate of fates.filter(({ state }) => state === 'unknown')) {
        // Either way from here, as a kubelet would that did not hear either.
        if (random.float() < 0.5) {
          await kubelet.prepare(fate.claim);
          fate.state = 'prepared';
        } else {
          await kubelet.unprepare(fate.claim);
          fate.state = 'ended';
        }
      }
      for (const { claim, state } of fates) {
        if (state === 'ended') assert.deepEqual(left(claim.uid), []);
        else assert.deepEqual((await kubelet.prepare(claim))[0]?.cdiDeviceIds, [`nabustore.io/claim=${claim.uid}-0`]);
      }
      const storms = Array.from({ length: AT_ONCE }, () => storm(fates, random));
      await realClock.sleep(random.float() * 250);
      assert.equal(await node.stop('SIGKILL'), 'SIGKILL');
      await Promise.all(storms);
      assertWhole(fates);
    }
    assert.ok(fates.length > LIVES * 3, `${fates.length} claims`);
  });
});
