import assert from 'node:assert/strict';
import type { V1Container, V1PodSpec } from '@kubernetes/client-node';
import type { KubeCluster } from '../cluster/index.ts';
import { Namespace, pod } from '../pods/index.ts';
import { sharedCluster } from '../shared.ts';
import { TestDevicePlugin } from './device-plugin.ts';
import { NodeMachine } from './node-machine.ts';

const MIB = 1 << 20;
const UNIT_BYTES = 64 * MIB;
const PLAIN = { cpu: '50m', memory: '32Mi' };
const ADDRESSES = {
  ibp26s0: '198.51.100.1',
  ibp60s0: '198.51.100.2',
  ibp156s0: '198.51.100.3',
  ibp188s0: '198.51.100.4',
};
/** Of the recorded node: which address and which file of verbs the HCA of a PCI address has. */
const HCAS: Readonly<Record<string, { readonly address: string; readonly verbs: string; readonly name: string }>> = {
  '0000:1a:00.0': { address: ADDRESSES.ibp26s0, verbs: 'uverbs0', name: 'mlx5_0' },
  '0000:3c:00.0': { address: ADDRESSES.ibp60s0, verbs: 'uverbs1', name: 'mlx5_1' },
  '0000:9c:00.0': { address: ADDRESSES.ibp156s0, verbs: 'uverbs2', name: 'mlx5_2' },
  '0000:bc:00.0': { address: ADDRESSES.ibp188s0, verbs: 'uverbs3', name: 'mlx5_3' },
};
const RESOURCES = [
  { kind: 'rdma', select: { linkLayers: ['InfiniBand'] } },
  { kind: 'cufile', version: '1.13', slots: 4 },
  { kind: 'hugetlbfs', pageSize: '2Mi', unitBytes: UNIT_BYTES },
];
const OFFERED = { 'nabustore.io/rdma': '4', 'nabustore.io/cufile': '8', 'nabustore.io/hugetlbfs-2Mi': '8' };

const asking = (resources: Readonly<Record<string, string>>): Partial<V1Container> => ({
  resources: { limits: { ...PLAIN, ...resources } },
});

const UNPRIVILEGED: Partial<V1Container> = {
  securityContext: {
    runAsUser: 1000,
    runAsNonRoot: true,
    privileged: false,
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
  },
};
const OWN_USER: Partial<V1PodSpec> = { securityContext: { seccompProfile: { type: 'RuntimeDefault' } } };

describe('pods on a node with nabu device-plugin', () => {
  let cluster: KubeCluster;
  let machine: NodeMachine;
  let plugin: TestDevicePlugin;

  before(async function () {
    cluster = await sharedCluster(this);
    machine = await NodeMachine.make();
    plugin = await TestDevicePlugin.start(cluster, machine, { resources: RESOURCES, addresses: ADDRESSES });
    await plugin.untilOffered(OFFERED);
  });

  after(async () => {
    await (plugin as TestDevicePlugin | undefined)?.[Symbol.asyncDispose]();
    await (machine as NodeMachine | undefined)?.[Symbol.asyncDispose]();
  });

  it('run unprivileged, and see their HCA, a cufile.json that names it, and huge pages, and nothing else', async () => {
    await using namespace = await Namespace.make(cluster);
    const wanted = {
      'nabustore.io/rdma': '1',
      'nabustore.io/cufile': '1',
      'nabustore.io/hugetlbfs-2Mi': '1',
      'hugepages-2Mi': '64Mi',
    };
    await namespace.create(pod('loader', { ...asking(wanted), ...UNPRIVILEGED }, OWN_USER));
    await namespace.untilReady('loader');
    const inside = async (...command: string[]): Promise<string> => await namespace.exec('loader', ...command);
    assert.equal(await inside('id', '-u'), '1000\n');

    const given = await namespace.variable('loader', 'NABUSTORE_RDMA_PCI_ADDRESSES');
    const hca = HCAS[given];
    assert(hca !== undefined, `${given} is an HCA of the machine`);
    assert.equal(await namespace.variable('loader', 'NABUSTORE_RDMA_DEVICES'), hca.name);

    assert.equal(await inside('ls', '/dev/infiniband'), `rdma_cm\n${hca.verbs}\n`);
    const nodes = (await inside('find', '/dev', '-type', 'c', '-name', 'nvidia*')).trim().split('\n');
    assert.equal(nodes.length, 16);
    assert(nodes.every((path) => /^\/dev\/nvidia-fs\d+$/.test(path)));
    // ENXIO: the device may be opened, and no driver has its number here. What is not given is EPERM.
    await assert.rejects(inside('guest', 'open', `/dev/infiniband/${hca.verbs}`), /no such device or address/);

    const path = await namespace.variable('loader', 'CUFILE_ENV_PATH_JSON');
    const file = JSON.parse((await inside('cat', path)).replaceAll(/^\s*\/\/.*$/gm, ''));
    assert.deepEqual(file.properties.rdma_dev_addr_list, [hca.address]);
    await assert.rejects(inside('sh', '-c', `echo x >${path}`), /Read-only|Permission denied/);

    const place = '/dev/hugepages-2Mi';
    assert.equal(await inside('guest', 'map', `${place}/whole`, String(UNIT_BYTES)), 'ok touched 32 pages\n');
    await assert.rejects(inside('guest', 'map', `${place}/more`, String(2 * MIB)), /refused/);
    await assert.rejects(inside('guest', 'anonymous', String(2 * MIB)), /refused/);
    await inside('rm', `${place}/whole`);
    assert.equal(await inside('guest', 'anonymous', String(UNIT_BYTES)), 'ok touched 32 pages\n');
    await assert.rejects(inside('guest', 'anonymous', String(UNIT_BYTES + 2 * MIB)), /refused/);
  });

  it('cannot open the HCA of another pod, not even by a device file that they make themselves', async () => {
    await using namespace = await Namespace.make(cluster);
    await namespace.create(pod('maker', asking({ 'nabustore.io/rdma': '1' })));
    await namespace.untilReady('maker');
    const own = HCAS[await namespace.variable('maker', 'NABUSTORE_RDMA_PCI_ADDRESSES')];
    const open = async (minor: number): Promise<string> => {
      const path = `/tmp/verbs${minor}`;
      await namespace.exec('maker', 'mknod', path, 'c', '231', String(minor));
      return await namespace.exec('maker', 'guest', 'open', path).catch(String);
    };
    for (const [minor, { verbs }] of Object.values(HCAS).entries()) {
      const expected = verbs === own?.verbs ? /no such device or address/ : /operation not permitted/;
      assert.match(await open(192 + minor), expected, verbs);
    }
  });

  it('wait with a readable reason while they ask for more than there is, and start once it is free', async () => {
    await using namespace = await Namespace.make(cluster);
    await namespace.create(pod('many', asking({ 'nabustore.io/rdma': '5' })));
    assert.match(await namespace.untilUnschedulable('many'), /Insufficient nabustore\.io\/rdma/);
    await namespace.create(pod('all', asking({ 'nabustore.io/rdma': '4' })));
    await namespace.untilReady('all');
    await namespace.create(pod('next', asking({ 'nabustore.io/rdma': '1' })));
    assert.match(await namespace.untilUnschedulable('next'), /Insufficient nabustore\.io\/rdma/);
    await namespace.remove('all');
    await namespace.untilReady('next');
  });
});
