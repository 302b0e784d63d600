import assert from 'node:assert/strict';
import type { V1Container } from '@kubernetes/client-node';
import { skip } from '../../support/skip.ts';
import { BUSYBOX_IMAGE, type KubeCluster } from '../cluster/index.ts';
import { TestDevicePlugin } from '../device-plugin/device-plugin.ts';
import { asking, MIB, UNIT_BYTES } from '../device-plugin/h200-node.ts';
import { NodeMachine } from '../device-plugin/node-machine.ts';
import { ClaimNode } from '../dra/claim-node.ts';
import { Claims, claim, HCA_CLASS, podWith } from '../dra/claims.ts';
import { Namespace, pod } from '../pods/index.ts';
import { sharedCluster } from '../shared.ts';
import { mayRaiseLimits, TestNri } from './test-nri.ts';

const HCA = 'nabustore.io/rdma-nri';
const MOUNT = 'nabustore.io/hugetlbfs-2Mi';
const RESOURCES = [
  { kind: 'rdma', name: 'nri', select: { linkLayers: ['InfiniBand'] } },
  { kind: 'hugetlbfs', pageSize: '2Mi', unitBytes: UNIT_BYTES },
];
/** Less than containers have here without us: a limit that the runtime may set on a machine that lets it raise none. */
const LOWER_BYTES = String(4 * MIB);

describe('containers on a node with nabu nri', () => {
  let cluster: KubeCluster;
  let machine: NodeMachine;
  let plugin: TestDevicePlugin;
  let memlock = 'unlimited';

  before(async function () {
    cluster = await sharedCluster(this);
    if (!(await mayRaiseLimits())) {
      memlock = LOWER_BYTES;
      process.stdout.write(
        `nri: no CAP_SYS_RESOURCE here, so these tests set a limit of ${memlock} bytes, not unlimited\n`,
      );
    }
    machine = await NodeMachine.make();
    plugin = await TestDevicePlugin.start(cluster, machine, { resources: RESOURCES });
    await plugin.untilOffered({ [HCA]: '4', [MOUNT]: '8' });
  });

  after(async () => {
    await (plugin as TestDevicePlugin | undefined)?.[Symbol.asyncDispose]();
    await (machine as NodeMachine | undefined)?.[Symbol.asyncDispose]();
  });

  /** Soft and hard limit of a pod's first process, in bytes. */
  async function limitOf(namespace: Namespace, name: string): Promise<string> {
    const limits = await namespace.exec(name, 'cat', '/proc/1/limits');
    const [, soft, hard] = /^Max locked memory\s+(\S+)\s+(\S+)/m.exec(limits) ?? [];
    assert.equal(soft, hard);
    return soft ?? limits;
  }

  const holder = (): Partial<V1Container> => asking({ [HCA]: '1' });

  it('may lock so much memory when they hold a device of ours, and not when they only say so', async () => {
    await using namespace = await Namespace.make(cluster);
    await namespace.create(pod('before', holder()));
    await namespace.untilReady('before');
    const ordinary = await limitOf(namespace, 'before');
    assert.notEqual(ordinary, memlock);

    await using nri = await TestNri.start(cluster, memlock);
    const env = [
      { name: 'NABUSTORE_RDMA_NRI_DEVICES', value: 'mlx5_0' },
      { name: 'CUFILE_ENV_PATH_JSON', value: '/etc/cufile/cufile.json' },
    ];
    await namespace.create(pod('holder', holder()));
    await namespace.create(pod('mounter', asking({ [MOUNT]: '1', 'hugepages-2Mi': '64Mi' })));
    await namespace.create(pod('other'));
    await namespace.create(pod('forger', { env }));
    for (const [name, limit] of [
      ['holder', memlock],
      ['mounter', memlock],
      ['other', ordinary],
      ['forger', ordinary],
    ] as const) {
      await namespace.untilReady(name);
      assert.equal(await limitOf(namespace, name), limit, `${name}\n${await nri.log()}`);
      assert.equal(await namespace.exec(name, 'guest', 'memlock'), `ok ${limit} ${limit}\n`, name);
    }
    assert.equal(await limitOf(namespace, 'before'), ordinary, 'what runs is left as it is');
  });

  it('may so in init containers too, which the kubelet does not show', async () => {
    await using namespace = await Namespace.make(cluster);
    await using nri = await TestNri.start(cluster, memlock);
    const first: V1Container = { ...holder(), name: 'first', image: BUSYBOX_IMAGE, command: ['/bin/guest', 'memlock'] };
    await namespace.create(pod('both', holder(), { initContainers: [first] }));
    await namespace.untilReady('both');
    assert.equal(await namespace.logs('both', '-c', 'first'), `ok ${memlock} ${memlock}\n`, await nri.log());
    assert.equal(await limitOf(namespace, 'both'), memlock);
  });

  it('may so when they hold a device by a claim', async () => {
    await using node = await ClaimNode.start(cluster, [{ kind: 'rdma', select: { linkLayers: ['InfiniBand'] } }]);
    await using namespace = await Namespace.make(cluster);
    await using nri = await TestNri.start(cluster, memlock);
    await new Claims(node.cluster, namespace).create(claim('train', [{ deviceClassName: HCA_CLASS }]));
    await namespace.create(podWith('train'));
    await namespace.untilReady('train');
    assert.equal(await limitOf(namespace, 'train'), memlock, await nri.log());
    assert.match(await nri.log(), /"holds":\["devices\.nabustore\.io"\],"says":"kubelet"/);
  });

  it('get their limit again after containerd has been restarted, and after the plugin has', async () => {
    await using namespace = await Namespace.make(cluster);
    {
      await using nri = await TestNri.start(cluster, memlock);
      await cluster.restartContainerd();
      await nri.untilRegistered(2);
      await namespace.create(pod('runtime-again', holder()));
      await namespace.untilReady('runtime-again');
      assert.equal(await limitOf(namespace, 'runtime-again'), memlock, await nri.log());
    }
    await namespace.create(pod('none', asking({})));
    await namespace.untilReady('none');
    await using nri = await TestNri.start(cluster, memlock);
    await namespace.create(pod('plugin-again', holder()));
    await namespace.untilReady('plugin-again');
    assert.equal(await limitOf(namespace, 'plugin-again'), memlock, await nri.log());
  });

  it('start all the same where the container runtime may not raise limits', async function () {
    if (await mayRaiseLimits()) skip(this, 'container runtime that lacks CAP_SYS_RESOURCE');
    await using namespace = await Namespace.make(cluster);
    await using nri = await TestNri.start(cluster, 'unlimited');
    await namespace.create(pod('holder', holder()));
    await namespace.untilReady('holder');
    assert.notEqual(await limitOf(namespace, 'holder'), 'unlimited');
    assert.match(await nri.log(), /the container runtime may not.*no CAP_SYS_RESOURCE and a hard limit of/);
  });
});
