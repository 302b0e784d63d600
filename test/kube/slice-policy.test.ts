import assert from 'node:assert/strict';
import { Chart, type Rendered } from './chart.ts';
import type { KubeCluster } from './cluster/index.ts';
import { until } from './host/until.ts';
import { sharedCluster } from './shared.ts';

const NAMESPACE = 'nabustore-slices';
const ACCOUNT = `system:serviceaccount:${NAMESPACE}:nabu-nabustore-device-plugin`;
const KINDS = ['ClusterRole', 'ClusterRoleBinding', 'ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'];
const IN_FORCE_MS = 60_000;

const sliceOf = (nodeName: string): string =>
  JSON.stringify({
    apiVersion: 'resource.k8s.io/v1',
    kind: 'ResourceSlice',
    metadata: { generateName: 'test-' },
    spec: {
      driver: 'policy.test.nabustore.io',
      nodeName,
      pool: { name: nodeName, generation: 1, resourceSliceCount: 1 },
      devices: [{ name: 'hca-0' }],
    },
  });

describe('the policy for ResourceSlices', () => {
  let cluster: KubeCluster;
  let objects: readonly Rendered[] = [];

  /** As the device plugin of a node would: nothing is made. */
  const publish = async (fromNode: string | undefined, nodeName: string): Promise<string> => {
    const extra = fromNode === undefined ? [] : [`--as-user-extra=authentication.kubernetes.io/node-name=${fromNode}`];
    const args = ['create', '-f', '-', '--dry-run=server', `--as=${ACCOUNT}`, ...extra];
    return await cluster.kubectl(args, { input: sliceOf(nodeName) });
  };

  before(async function () {
    const chart = await Chart.open(this);
    cluster = await sharedCluster(this);
    const rendered = await chart.render({ devicePlugin: { dra: true } }, NAMESPACE);
    objects = rendered.filter(({ kind, metadata }) => KINDS.includes(kind) && !metadata.name.includes('hugetlbfs'));
    assert.equal(objects.length, KINDS.length);
    await cluster.apply(...objects);
    await until('the policy to be in force', IN_FORCE_MS, async () => {
      const refused = await publish('a', 'b').then(() => '', String);
      return refused.includes('ValidatingAdmissionPolicy') ? true : undefined;
    });
  });
  after(async () => {
    for (const { kind, metadata } of objects) await cluster.kubectl(['delete', kind, metadata.name]);
  });

  it('lets the device plugin of a node publish the devices of that node', async () => {
    assert.match(await publish('a', 'a'), /created/);
  });

  it('refuses those of another node, and a token of no node, with a sentence', async () => {
    await assert.rejects(
      publish('a', 'b'),
      /the device plugin of node "a" publishes the devices of its own node alone, not those of "b"/,
    );
    await assert.rejects(publish(undefined, 'b'), /the device plugin of node "" publishes/);
  });

  it('says nothing to anybody else', async () => {
    assert.match(await cluster.kubectl(['create', '-f', '-', '--dry-run=server'], { input: sliceOf('b') }), /created/);
  });
});
