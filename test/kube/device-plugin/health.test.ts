import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import type { KubeCluster } from '../cluster/index.ts';
import { Namespace, pod } from '../pods/index.ts';
import { sharedCluster } from '../shared.ts';
import { TestDevicePlugin } from './device-plugin.ts';
import { asking, HCA_VARIABLE, HCAS, OFFERED, RESOURCES } from './h200-node.ts';
import { NodeMachine } from './node-machine.ts';

const PAGES = '/proc/sys/vm/nr_hugepages';

describe('devices that fail under a real kubelet', () => {
  let cluster: KubeCluster;
  let machine: NodeMachine;
  let plugin: TestDevicePlugin;

  before(async function () {
    cluster = await sharedCluster(this);
    machine = await NodeMachine.make();
    plugin = await TestDevicePlugin.start(cluster, machine, { resources: RESOURCES });
    await plugin.untilOffered(OFFERED);
  });

  after(async () => {
    await (plugin as TestDevicePlugin | undefined)?.[Symbol.asyncDispose]();
    await (machine as NodeMachine | undefined)?.[Symbol.asyncDispose]();
  });

  it('are not given out until they are well again, and the pod that holds one goes on', async () => {
    await using namespace = await Namespace.make(cluster);
    await namespace.create(pod('holder', asking({ 'nabustore.io/rdma': '1' })));
    const before = await namespace.untilReady('holder');
    const hca = HCAS[await namespace.variable('holder', HCA_VARIABLE)];
    const file = `dev/infiniband/${hca?.verbs}`;
    machine.tree.remove(file);
    await plugin.untilOffered({ ...OFFERED, 'nabustore.io/rdma': '3' });
    await machine.makeDeviceFile(file, `c 231 ${192 + Number(hca?.verbs.slice('uverbs'.length))}`);
    await plugin.untilOffered(OFFERED);
    const after = await namespace.read('holder');
    assert.deepEqual(after.status?.containerStatuses?.[0]?.state, before.status?.containerStatuses?.[0]?.state);
  });

  it('are fewer where the machine gives huge pages back, and as many as before once it has them again', async () => {
    const before = await readFile(PAGES, 'utf8');
    try {
      await writeFile(PAGES, '128');
      await plugin.untilOffered({ ...OFFERED, 'nabustore.io/hugetlbfs-2Mi': '4' });
    } finally {
      await writeFile(PAGES, before);
    }
    await plugin.untilOffered(OFFERED);
  });
});
