import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { GrpcClient } from '../../../common/grpc/index.ts';
import { DEVICE_PLUGIN_PRIVILEGES, type HostPathNeed } from '../../../device-plugin/privileges.ts';
import { services } from '../../../proto/gen/services.js';
import { allocated } from '../../support/claim-objects.ts';
import { CDI, JailedNode, missingForJail, STATE } from '../../support/jailed-node.ts';
import { KubeApiDouble } from '../../support/kube-api-double.ts';
import { skip } from '../../support/skip.ts';

const START_MS = 20_000;
const LACK_MS = 4000;
const CALL = { timeoutMs: 10_000 };
const REGISTRY = '/var/lib/kubelet/plugins_registry';
const PLUGINS = '/var/lib/kubelet/plugins/devices.nabustore.io';
const CLAIMS = '/apis/resource.k8s.io/v1/namespaces/ml/resourceclaims';
const CONFIG = {
  health: { recoverMs: 0 },
  resources: [{ kind: 'rdma', mode: 'dra', select: { linkLayers: ['InfiniBand'] } }],
};
const NEEDED = DEVICE_PLUGIN_PRIVILEGES.hostPaths.filter(({ neededFor }) => {
  return neededFor.includes('everything') || neededFor.includes('claims');
});

/** What the plugin reaches beside the node. */
function kubeconfigFor(server: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    clusters: [{ name: 'test', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'test', user: { token: 'test' } }],
  });
}

describe('the least privilege of nabu device-plugin with claims', function () {
  this.timeout(120_000);
  let on: JailedNode | undefined;
  let api: KubeApiDouble;

  before(function () {
    const lacking = missingForJail();
    if (lacking !== '') skip(this, lacking);
  });
  beforeEach(async () => {
    api = await KubeApiDouble.start();
    api.put('/api/v1/nodes', { metadata: { name: 'node-1', uid: 'node-uid' } });
  });
  afterEach(async () => {
    await on?.close();
    on = undefined;
    await api[Symbol.asyncDispose]();
  });

  async function start(paths: readonly HostPathNeed[]): Promise<JailedNode> {
    const files = { kubeconfig: kubeconfigFor(api.access().server) };
    on = await JailedNode.start({ config: CONFIG, paths, files, args: ['--kubeconfig=/etc/nabustore/kubeconfig'] });
    return on;
  }

  /** As the kubelet: finds the driver, asks who it is, has a claim prepared. */
  async function prepares(node: JailedNode, timeoutMs: number): Promise<void> {
    const published = (): readonly { readonly name: string }[] =>
      api.slices.flatMap(({ spec }) => Reflect.get(Object(spec), 'devices') ?? []);
    await node.until('devices are published', () => published().length > 0, timeoutMs);
    const socket = join(node.of(REGISTRY), 'devices.nabustore.io-reg.sock');
    await node.until('the kubelet finds the driver', () => existsSync(socket), timeoutMs);
    const registry = new GrpcClient({ address: { kind: 'unix', path: socket } });
    try {
      const calls = registry.service(services['pluginregistration.Registration']);
      const { endpoint } = await calls.getInfo({}, CALL);
      assert.equal(endpoint, `${PLUGINS}/dra.sock`);
      await calls.notifyRegistrationStatus({ pluginRegistered: true, error: '' }, CALL);
    } finally {
      registry.close();
    }
    const { object, claim } = allocated('train', [published()[0]?.name ?? '']);
    api.put(CLAIMS, object);
    const driver = new GrpcClient({ address: { kind: 'unix', path: join(node.of(PLUGINS), 'dra.sock') } });
    try {
      const calls = driver.service(services['k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin']);
      const answer = (await calls.nodePrepareResources({ claims: [claim] }, CALL)).claims[claim.uid];
      assert.equal(answer?.error, '');
      assert.equal(answer.devices.length, 1);
      assert(readdirSync(node.of(CDI)).length > 0);
    } finally {
      driver.close();
    }
  }

  it('is enough to have claims prepared, without any capability', async () => {
    await prepares(await start(NEEDED), START_MS);
  });

  for (const hostPath of [REGISTRY, PLUGINS, STATE, CDI]) {
    it(`does not hold anything to spare: without ${hostPath}, or with it read-only, no claim is prepared`, async () => {
      await assert.rejects(prepares(await start(NEEDED.filter((one) => one.hostPath !== hostPath)), LACK_MS));
      await on?.close();
      const readOnly = NEEDED.map((one) => (one.hostPath === hostPath ? { ...one, access: 'read' as const } : one));
      await assert.rejects(prepares(await start(readOnly), LACK_MS));
    });
  }
});
