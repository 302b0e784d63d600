import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { NabuError } from '../../../common/errors/index.ts';
import { MACHINES } from '../../fixtures/machines/index.ts';
import { eventually } from '../../support/kubelet-double.ts';
import { canMakeDevices, PluginNode } from '../../support/plugin-node.ts';
import { type DoubleContainer, PodResourcesDouble } from '../../support/pod-resources-double.ts';
import { skip } from '../../support/skip.ts';

const CUFILE = 'nabustore.io/cufile';
const RDMA = 'nabustore.io/rdma';
const GPU = 'nvidia.com/gpu';
const CALL = { timeoutMs: 30_000 };
const BOUND_MS = 10_000;
const SLOTS = 16;
const CONFIG = {
  health: { recoverMs: 0 },
  resources: [
    { kind: 'rdma', slots: 8 },
    { kind: 'cufile', version: '1.16', slots: SLOTS },
  ],
};
const gpu = (number: number): string => `GPU-5a1f0c3e-7d2b-4e6a-9c41-00000000000${number}`;
const HCAS = ['0000:1a:00.0', '0000:3c:00.0', '0000:9c:00.0', '0000:bc:00.0'];

describe('cuFile for pods, from the kubelet to the file', () => {
  let node: PluginNode;
  let pods: PodResourcesDouble;

  before(function () {
    if (!canMakeDevices()) skip(this, 'right to make device files (CAP_MKNOD)');
  });

  beforeEach(async () => {
    node = new PluginNode(MACHINES['h200-8gpu']);
    pods = new PodResourcesDouble(join(node.kubeletDir, 'pod-resources', 'kubelet.sock'));
    await node.kubelet.start();
    node.configure(CONFIG);
    node.start();
    await untilUsable(CUFILE, 2 * SLOTS);
  });

  afterEach(async () => {
    await node.close();
    await pods.stop();
  });

  async function untilUsable(resource: string, count: number): Promise<void> {
    const usable = (): number => node.kubelet.advertised(resource)?.filter((id) => !id.startsWith('!')).length ?? 0;
    await eventually(
      `${count} of ${resource}`,
      () => usable() === count,
      BOUND_MS,
      () => ({ usable: usable(), log: node.stderr.slice(-2000) }),
    );
  }

  /** What a kubelet does with a container at the pod's admission: the folder that it will mount. */
  async function admit(id: string): Promise<string> {
    const { containerResponses } = await node.kubelet
      .plugin(CUFILE)
      .allocate({ containerRequests: [{ devicesIds: [id] }] }, CALL);
    const [answer] = containerResponses;
    const mount = answer?.mounts.find(({ containerPath }) => containerPath === '/etc/nabustore/cufile');
    assert(mount?.readOnly);
    assert.equal(answer?.envs.CUFILE_ENV_PATH_JSON, '/etc/nabustore/cufile/cufile.json');
    assert.equal(answer.devices.filter(({ hostPath }) => hostPath.startsWith('/dev/nvidia-fs')).length, 16);
    return mount.hostPath;
  }

  async function preStart(id: string): Promise<void> {
    await node.kubelet.plugin(CUFILE).preStartContainer({ devicesIds: [id] }, CALL);
  }

  const notesIn = (folder: string): string => readFileSync(join(folder, 'NOTES'), 'utf8');

  it('gives each of 24 containers that start at once a file for its own HCA and GPU', async () => {
    await pods.start({ refusals: 5 });
    const containers = Array.from({ length: 24 }, (_, at): DoubleContainer & { readonly id: string } => {
      const id = `numa${at % 2}-${Math.floor(at / 2)}`;
      const hca = `${HCAS[at % 4]}-${Math.floor(at / 4)}`;
      return { id, pod: `pod-${at}`, devices: { [CUFILE]: [id], [RDMA]: [hca], [GPU]: [gpu(at % 8)] } };
    });
    pods.containers = containers;
    const folders = await Promise.all(containers.map(({ id }) => admit(id)));
    await Promise.all(containers.map(({ id }) => preStart(id)));
    for (const [at, folder] of folders.entries()) {
      const notes = notesIn(folder);
      assert.match(notes, new RegExp(`for default/pod-${at}/main\\.$`, 'm'));
      assert.match(notes, new RegExp(`^HCAs: mlx5_${at % 4} \\(${HCAS[at % 4]}\\)\\.$`, 'm'));
      assert.match(notes, /^GPUs: 0000:[0-9a-f]{2}:00\.0\.$/m);
      const { properties } = JSON.parse(readFileSync(join(folder, 'cufile.json'), 'utf8'));
      assert.deepEqual([properties.use_pci_p2pdma, properties.rdma_dev_addr_list], [false, []]); // no such interfaces here
      assert.match(notes, new RegExp(`^Note: mlx5_${at % 4} has no IPv4 address`, 'm'));
      assert.equal(statSync(join(folder, 'cufile.json')).mode & 0o777, 0o644);
    }
  });

  it('starts containers while the pod resources API hangs or is away, and the next start has the right file', async () => {
    const folder = await admit('numa0-0');
    assert(!existsSync(join(folder, 'cufile.json')));
    await pods.start({ hangs: true });
    await preStart('numa0-0');
    assert.match(notesIn(folder), /could not be asked .*: the file is for all of NUMA node 0/);
    await pods.stop();
    pods.containers = [{ pod: 'web-0', devices: { [CUFILE]: ['numa0-0'], [GPU]: [gpu(1)] } }];
    await pods.start();
    await preStart('numa0-0');
    assert.match(notesIn(folder), /^GPUs: 0000:19:00\.0\.$/m);
    assert.doesNotMatch(notesIn(folder), /^Note/m);
  });

  it('refuses with a sentence a container that has cuFile twice', async () => {
    await pods.start();
    pods.containers = [{ pod: 'web-0', devices: { [CUFILE]: ['numa0-0'], 'nabustore.io/gds': ['0000:1a:00.0-0'] } }];
    await admit('numa0-0');
    await assert.rejects(
      preStart('numa0-0'),
      (err) => NabuError.is(err, 'FAILED_PRECONDITION') && /ask for one of them/.test(err.message),
    );
  });

  it('turns unhealthy when nvidia-fs is unloaded, lets running pods be, and is healthy again with the module', async () => {
    await pods.start();
    pods.containers = [{ pod: 'web-0', devices: { [CUFILE]: ['numa0-0'], [GPU]: [gpu(1)] } }];
    const folder = await admit('numa0-0');
    await preStart('numa0-0');
    const before = readFileSync(join(folder, 'cufile.json'), 'utf8');
    const module = node.machine.at('sys/module/nvidia_fs');
    renameSync(module, `${module}.gone`);
    await untilUsable(CUFILE, 0);
    await assert.rejects(preStart('numa0-1'), (err) => NabuError.is(err, 'DEVICE_UNHEALTHY'));
    assert.equal(readFileSync(join(folder, 'cufile.json'), 'utf8'), before);
    renameSync(`${module}.gone`, module);
    await untilUsable(CUFILE, 2 * SLOTS);
    await preStart('numa0-0');
    assert.equal(readFileSync(join(folder, 'cufile.json'), 'utf8'), before);
  });
});
