import assert from 'node:assert/strict';
import type { KubeCluster } from '../cluster/index.ts';
import { untilAllocatable } from '../device-plugin/device-plugin.ts';
import { NodeMachine } from '../device-plugin/node-machine.ts';
import { Namespace, pod } from '../pods/index.ts';
import { sharedCluster } from '../shared.ts';
import { Claims, claim, HCA_CLASS, podWith } from './claims.ts';
import { applyClasses, deleteClasses } from './classes.ts';
import { PluginProcess } from './plugin-process.ts';

const NAME = 'modes';
const RESOURCE = `nabustore.io/rdma-${NAME}`;
const HCAS = ['hca-0000-1a-00-0', 'hca-0000-3c-00-0', 'hca-0000-9c-00-0', 'hca-0000-bc-00-0'];
/** The kubelet tells the API server every second here; a resource that is withdrawn keeps its devices as unhealthy. */
const LAG_MS = 60_000;
const rdma = (mode: 'plugin' | 'dra'): object => ({
  kind: 'rdma',
  name: NAME,
  mode,
  select: { linkLayers: ['InfiniBand'] },
});

describe('a node whose configuration changes how its HCAs are given out', () => {
  let cluster: KubeCluster;
  let machine: NodeMachine;
  let plugin: PluginProcess;

  before(async function () {
    cluster = await sharedCluster(this);
    await applyClasses(cluster, 'deviceclasses.yaml');
    machine = await NodeMachine.make();
    plugin = await PluginProcess.start(cluster, machine, rdma('plugin'));
    await untilAllocatable(cluster, { [RESOURCE]: '4' }, LAG_MS);
  });
  after(async () => {
    await (plugin as PluginProcess | undefined)?.[Symbol.asyncDispose]();
    await (machine as NodeMachine | undefined)?.[Symbol.asyncDispose]();
    if ((cluster as KubeCluster | undefined) !== undefined) await deleteClasses(cluster, 'deviceclasses.yaml');
  });

  it('gives each to claims when no pod has it any more, and back when no claim has', async () => {
    await using namespace = await Namespace.make(cluster);
    const claims = new Claims(cluster, namespace);
    const limits = { cpu: '10m', memory: '16Mi', [RESOURCE]: '1' };
    await namespace.create(pod('plain', { resources: { limits } }));
    await namespace.untilReady('plain');
    const address = await namespace.variable('plain', 'NABUSTORE_RDMA_MODES_PCI_ADDRESSES');
    const held = `hca-${address.trim().replace(/[:.]/g, '-')}`;
    assert.ok(HCAS.includes(held), held);

    await plugin.configure(rdma('dra'));
    await plugin.untilDevices(HCAS.filter((name) => name !== held));
    assert.equal((await namespace.read('plain')).status?.phase, 'Running');
    await plugin.stop('SIGKILL');
    await plugin.start();
    await plugin.untilDevices(HCAS.filter((name) => name !== held));
    await namespace.remove('plain');
    await plugin.untilDevices(HCAS);

    await claims.create(claim('claimed', [{ deviceClassName: HCA_CLASS }]));
    await namespace.create(podWith('claimed'));
    await namespace.untilReady('claimed');
    const since = Date.now();
    await plugin.configure(rdma('plugin'));
    await untilAllocatable(cluster, { [RESOURCE]: '3' }, LAG_MS, since);
    assert.equal((await namespace.read('claimed')).status?.phase, 'Running');
    await namespace.remove('claimed');
    await untilAllocatable(cluster, { [RESOURCE]: '4' }, LAG_MS, since);
    await plugin.untilDevices([]);
  });
});
