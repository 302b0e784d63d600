import assert from 'node:assert/strict';
import type { V1Container, V1PodSpec } from '@kubernetes/client-node';
import type { KubeCluster } from '../cluster/index.ts';
import { Namespace, pod } from '../pods/index.ts';
import { sharedCluster } from '../shared.ts';
import { TestDevicePlugin } from './device-plugin.ts';
import { ADDRESSES, asking, HCA_VARIABLE, HCAS, MIB, OFFERED, RESOURCES, UNIT_BYTES } from './h200-node.ts';
import { NodeMachine } from './node-machine.ts';

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

/** Default devices of the OCI runtime specification (config-linux.md), and those of a terminal. */
const OF_EVERY_CONTAINER = /^\/dev\/(null|zero|full|random|urandom|tty|console|ptmx|pts\/\w+)$/;

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

    const given = await namespace.variable('loader', HCA_VARIABLE);
    const hca = HCAS[given];
    assert(hca !== undefined, `${given} is an HCA of the machine`);
    assert.equal(await namespace.variable('loader', 'NABUSTORE_RDMA_DEVICES'), hca.name);

    const files = (await inside('find', '/dev', '-type', 'c')).trim().split('\n').sort();
    const gds = Array.from({ length: 16 }, (_, index) => `/dev/nvidia-fs${index}`);
    const rdma = ['/dev/infiniband/rdma_cm', `/dev/infiniband/${hca.verbs}`];
    assert.deepEqual(
      files.filter((path) => !OF_EVERY_CONTAINER.test(path)),
      [...rdma, ...gds].sort(),
    );
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
    const own = HCAS[await namespace.variable('maker', HCA_VARIABLE)];
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
