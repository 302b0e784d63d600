import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { V1Pod } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { parsePluginConfig } from '../../../device-plugin/config/index.ts';
import type { KubeCluster } from '../cluster/index.ts';
import { Namespace } from '../pods/index.ts';
import { sharedCluster } from '../shared.ts';
import { TestDevicePlugin } from './device-plugin.ts';
import { ADDRESSES, HCA_VARIABLE, HCAS, UNIT_BYTES } from './h200-node.ts';
import { NodeMachine } from './node-machine.ts';

const example = async (name: string): Promise<string> =>
  await readFile(new URL(`../../../docs/examples/${name}`, import.meta.url), 'utf8');

/** docs/device-plugin.md, as somebody who reads it does it. */
describe('the guide of the device plugin', () => {
  let cluster: KubeCluster;
  let machine: NodeMachine;
  let plugin: TestDevicePlugin;

  before(async function () {
    cluster = await sharedCluster(this);
    machine = await NodeMachine.make();
    const { resources } = parsePluginConfig(await example('device-plugin.yaml'), 'docs/examples/device-plugin.yaml');
    plugin = await TestDevicePlugin.start(cluster, machine, { resources, addresses: ADDRESSES });
  });

  after(async () => {
    await (plugin as TestDevicePlugin | undefined)?.[Symbol.asyncDispose]();
    await (machine as NodeMachine | undefined)?.[Symbol.asyncDispose]();
  });

  it('has a configuration that offers what it says', async () => {
    await plugin.untilOffered({
      'nabustore.io/rdma': '4',
      'nabustore.io/rdma-storage': '8',
      'nabustore.io/cufile': '32',
      'nabustore.io/hugetlbfs-2Mi': '8',
    });
  });

  it('has a pod that runs and shows its HCA, its cufile.json and its huge pages', async () => {
    await using namespace = await Namespace.make(cluster);
    const loader: V1Pod = parse(await example('loader-pod.yaml'));
    await namespace.create(loader);
    await namespace.untilReady('loader');
    const hca = HCAS[await namespace.variable('loader', HCA_VARIABLE)];
    assert(hca !== undefined);
    const log = await namespace.logs('loader');
    assert.match(log, new RegExp(`/dev/infiniband/${hca.verbs}\\n`));
    assert.ok(log.includes(`"${hca.address}"`), log);
    const touched = await namespace.exec('loader', 'guest', 'map', '/dev/hugepages-2Mi/x', String(UNIT_BYTES));
    assert.equal(touched, 'ok touched 32 pages\n');
    await assert.rejects(namespace.exec('loader', 'guest', 'map', '/dev/hugepages-2Mi/y', '2097152'), /refused/);
  });

  it('has a claim for a GPU and an HCA that the API server takes', async () => {
    await using namespace = await Namespace.make(cluster);
    const file = new URL('../../../docs/examples/gpu-and-hca-claim.yaml', import.meta.url).pathname;
    const said = await cluster.kubectl(['--namespace', namespace.name, 'apply', '--dry-run=server', '-f', file]);
    assert.match(said, /^resourceclaimtemplate.*gpu-and-hca created.*\npod\/trainer created/);
  });
});
