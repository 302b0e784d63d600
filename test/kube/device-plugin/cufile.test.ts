import assert from 'node:assert/strict';
import type { KubeCluster } from '../cluster/index.ts';
import { until } from '../host/until.ts';
import { Namespace, pod } from '../pods/index.ts';
import { sharedCluster } from '../shared.ts';
import { TestDevicePlugin } from './device-plugin.ts';
import { ADDRESSES, asking, HCA_VARIABLE, HCAS } from './h200-node.ts';
import { NodeMachine } from './node-machine.ts';

const LAST = '0000:bc:00.0';
const GDS = { kind: 'gds', version: '1.13', select: { pciAddresses: [LAST] } };
const RDMA = { kind: 'rdma', select: { linkLayers: ['InfiniBand'] } };
const CUFILE = { kind: 'cufile', version: '1.13', slots: 4 };
const OFFERED = { 'nabustore.io/gds': '1', 'nabustore.io/rdma': '3', 'nabustore.io/cufile': '8' };
const BOTH = { 'nabustore.io/rdma': '1', 'nabustore.io/cufile': '1' };
/** Of the HCAs of each NUMA node. */
const BY_NODE = [
  [ADDRESSES.ibp26s0, ADDRESSES.ibp60s0],
  [ADDRESSES.ibp156s0, ADDRESSES.ibp188s0],
];
const PATCH_MS = 30_000;

/** cuFile's JSON may have comments of its own lines. */
const addressesIn = (text: string): unknown =>
  JSON.parse(text.replaceAll(/^\s*\/\/.*$/gm, '')).properties.rdma_dev_addr_list;

describe('cufile.json on a real kubelet', () => {
  let cluster: KubeCluster;
  let machine: NodeMachine;
  let plugin: TestDevicePlugin;

  before(async function () {
    cluster = await sharedCluster(this);
    machine = await NodeMachine.make();
    const resources = [GDS, RDMA, CUFILE];
    plugin = await TestDevicePlugin.start(cluster, machine, { resources, addresses: ADDRESSES });
    await plugin.untilOffered(OFFERED);
  });

  after(async () => {
    await (plugin as TestDevicePlugin | undefined)?.[Symbol.asyncDispose]();
    await (machine as NodeMachine | undefined)?.[Symbol.asyncDispose]();
  });

  it('names for each container of a pod the HCA of that container', async () => {
    await using namespace = await Namespace.make(cluster);
    const two = pod('two', asking(BOTH));
    const [main] = two.spec?.containers ?? [];
    assert(main !== undefined);
    await namespace.create(pod('two', {}, { containers: [main, { ...main, name: 'other' }] }));
    await namespace.untilReady('two');
    const given = await Promise.all(
      ['main', 'other'].map(async (container) => {
        const look = (script: string): Promise<string> => namespace.execIn('two', container, ['sh', '-c', script]);
        const address = HCAS[(await look(`echo $${HCA_VARIABLE}`)).trim()]?.address;
        assert.deepEqual(addressesIn(await look('cat $CUFILE_ENV_PATH_JSON')), [address]);
        return address;
      }),
    );
    assert.equal(new Set(given).size, 2);
  });

  it('names the HCA of a combined unit', async () => {
    await using namespace = await Namespace.make(cluster);
    await namespace.create(pod('combined', asking({ 'nabustore.io/gds': '1' })));
    await namespace.untilReady('combined');
    const path = await namespace.variable('combined', 'CUFILE_ENV_PATH_JSON');
    assert.deepEqual(addressesIn(await namespace.exec('combined', 'cat', path)), [HCAS[LAST]?.address]);
  });

  it('covers the NUMA node in an init container, which the kubelet does not show, and says so', async () => {
    await using namespace = await Namespace.make(cluster);
    const plain = pod('early');
    const [main] = plain.spec?.containers ?? [];
    assert(main !== undefined);
    const script = 'cat $CUFILE_ENV_PATH_JSON; echo =; cat $(dirname $CUFILE_ENV_PATH_JSON)/NOTES';
    const init = { ...main, ...asking(BOTH), name: 'init', command: ['/bin/sh', '-c', script] };
    await namespace.create(pod('early', {}, { initContainers: [init] }));
    await namespace.untilReady('early');
    const [file = '', notes = ''] = (await namespace.logs('early', '--container', 'init')).split('\n=\n');
    const addresses = addressesIn(file);
    assert(
      BY_NODE.some((near) => JSON.stringify(near) === JSON.stringify(addresses)),
      `the HCAs of one NUMA node: ${JSON.stringify(addresses)}`,
    );
    assert.match(notes, /it shows no init container/);
  });

  it('stays as it is in a running pod while the configuration changes, and a wrong file changes nothing', async () => {
    await using namespace = await Namespace.make(cluster);
    await namespace.create(pod('running', asking(BOTH)));
    await namespace.untilReady('running');
    const path = await namespace.variable('running', 'CUFILE_ENV_PATH_JSON');
    const had = await namespace.exec('running', 'cat', path);

    await plugin.configure([{ ...RDMA, selct: {} }]);
    await until('the plugin to refuse the file', PATCH_MS, async () =>
      (await plugin.log()).includes('selct') ? true : undefined,
    );
    await plugin.untilOffered(OFFERED, Date.now());

    const late = { kind: 'rdma', name: 'late', select: { pciAddresses: [LAST] } };
    await plugin.configure([late, RDMA, CUFILE]);
    await plugin.untilOffered({ ...OFFERED, 'nabustore.io/gds': '0', 'nabustore.io/rdma-late': '1' });
    await namespace.create(pod('late', asking({ 'nabustore.io/rdma-late': '1' })));
    await namespace.untilReady('late');
    assert.equal(await namespace.exec('running', 'cat', path), had);
    assert.equal((await namespace.read('running')).status?.containerStatuses?.[0]?.restartCount, 0);

    // A pod has the device as rdma-late: it is not given out as anything else until that pod has ended.
    const movedMs = Date.now();
    await plugin.configure([GDS, RDMA, CUFILE]);
    await plugin.untilOffered({ ...OFFERED, 'nabustore.io/gds': '0', 'nabustore.io/rdma-late': '0' }, movedMs);
    await namespace.remove('late');
    await plugin.untilOffered({ ...OFFERED, 'nabustore.io/rdma-late': '0' });
  });
});
