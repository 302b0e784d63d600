import assert from 'node:assert/strict';
import { skip } from '../../support/skip.ts';
import { KubeCluster } from '../cluster/index.ts';
import { Namespace } from '../pods/index.ts';
import { endSharedCluster } from '../shared.ts';
import { ClaimNode } from './claim-node.ts';
import { Claims, claim, HCA_CLASS, podWith } from './claims.ts';

/** For another cluster on this machine to end. */
const WAIT_MS = 15 * 60_000;
const START_MS = 120_000;
const FIRST = '0000:1a:00.0';
const HCAS = ['hca-0000-1a-00-0', 'hca-0000-3c-00-0', 'hca-0000-9c-00-0', 'hca-0000-bc-00-0'];
const slots = (names: readonly string[]): readonly string[] =>
  names.flatMap((name) => [`${name}-slot-0`, `${name}-slot-1`]);

/** Beta and on in 1.36, alpha and off in 1.34. */
const OFF = {
  DRAConsumableCapacity: false,
  DRADeviceTaints: false,
  DRAExtendedResource: false,
  DRAPartitionableDevices: false,
  ResourceHealthStatus: false,
  ResourceHealthStatusMessage: false,
};

describe('claims on a cluster with the features that 1.34 has', () => {
  let cluster: KubeCluster | undefined;
  let node: ClaimNode;

  before(async function () {
    const missing = await KubeCluster.missing();
    if (missing !== '') skip(this, missing);
    if ((await KubeCluster.attach()) !== undefined) skip(this, 'place for another cluster than the one run by hand');
    this.timeout(WAIT_MS + START_MS);
    await endSharedCluster();
    cluster = await KubeCluster.start({ featureGates: OFF, waitMs: WAIT_MS });
    const resource = { kind: 'rdma', slots: 2, select: { linkLayers: ['InfiniBand'] } };
    node = await ClaimNode.start(cluster, [resource]);
  });
  after(async () => {
    await node?.[Symbol.asyncDispose]();
    await cluster?.stop();
  });

  it('find a shared HCA once per slot, and share it', async () => {
    assert.ok(cluster !== undefined);
    assert.deepEqual(node.driver.state.features, { taints: false, sharing: false });
    assert.deepEqual(await node.devices(), slots(HCAS));
    await using namespace = await Namespace.make(cluster);
    const claims = new Claims(cluster, namespace);
    const cel = { expression: `device.attributes['resource.kubernetes.io'].pciBusID == '${FIRST}'` };
    for (const name of ['one', 'two', 'three']) {
      await claims.create(claim(name, [{ deviceClassName: HCA_CLASS, selectors: [{ cel }] }]));
      await namespace.create(podWith(name));
      if (name === 'three') assert.match(await namespace.untilUnschedulable(name), /cannot allocate all claims/);
      else await namespace.untilReady(name);
    }
    assert.equal(await namespace.exec('two', 'ls', '/dev/infiniband'), 'rdma_cm\nuverbs0\n');
    for (const name of ['one', 'two', 'three']) await namespace.remove(name);
  });

  it('do not find an HCA that is unhealthy', async () => {
    node.pools[0]?.against(FIRST, { code: 'link', detail: 'port 1 of mlx5_0 is DOWN' });
    await node.untilDevices(slots(HCAS.slice(1)));
    node.pools[0]?.against(FIRST, undefined);
    await node.untilDevices(slots(HCAS));
  });
});
