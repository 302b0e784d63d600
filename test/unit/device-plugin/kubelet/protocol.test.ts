import assert from 'node:assert/strict';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../../common/logging/index.ts';
import { realClock, SeededRandom } from '../../../../common/ports/index.ts';
import { KubeletPlugin } from '../../../../device-plugin/kubelet/index.ts';
import { eventually, KubeletDouble } from '../../../support/kubelet-double.ts';
import { MemoryPool } from '../../../support/memory-pool.ts';

const BOUND_MS = 2000;

describe('the device plugin before a kubelet', () => {
  let root: string;
  let kubelet: KubeletDouble;
  let plugin: KubeletPlugin;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'nabu-kubelet-'));
    kubelet = new KubeletDouble(join(root, 'device-plugins'));
    plugin = new KubeletPlugin({
      folder: kubelet.folder,
      clock: realClock,
      random: new SeededRandom(7),
      logger: silentLogger,
    });
  });

  afterEach(async () => {
    await plugin.close();
    await kubelet.stop();
    await rm(root, { recursive: true, force: true });
  });

  async function serve(pool: MemoryPool): Promise<MemoryPool> {
    await kubelet.start();
    await plugin.start();
    plugin.serve(pool);
    await kubelet.untilAdvertised(pool.resource, () => pool.expected, BOUND_MS);
    return pool;
  }

  it('registers, gives its options, and says the whole list first', async () => {
    const pool = await serve(new MemoryPool('nabustore.io/rdma', 3));
    await eventually('registered', () => kubelet.kinds().includes('accepted'), BOUND_MS);
    const options = { preStartRequired: false, getPreferredAllocationAvailable: true };
    const device = (ID: string, node: bigint) => ({ ID, health: 'Healthy', topology: { nodes: [{ ID: node }] } });
    const [first, second, ...rest] = kubelet.events;
    assert.deepEqual(first, {
      kind: 'register',
      request: { version: 'v1beta1', endpoint: 'nabustore.io_rdma.sock', resourceName: 'nabustore.io/rdma', options },
    });
    assert.deepEqual(second, { kind: 'options', resource: pool.resource, options });
    assert.deepEqual(
      rest.filter(({ kind }) => kind !== 'accepted'),
      [
        {
          kind: 'list',
          resource: pool.resource,
          devices: [device('dev-0', 0n), device('dev-1', 1n), device('dev-2', 0n)],
        },
      ],
    );
    assert.equal(rest.length, 2);
  });

  it('makes its socket for its user alone', async () => {
    await serve(new MemoryPool('nabustore.io/rdma', 1));
    const { mode } = await stat(join(kubelet.folder, 'nabustore.io_rdma.sock'));
    assert.equal(mode & 0o777, 0o600);
  });

  it('sends one new list for all changes of one turn, and health that comes back', async () => {
    const pool = await serve(new MemoryPool('nabustore.io/rdma', 3));
    pool.setHealthy('dev-0', false);
    pool.setHealthy('dev-1', false);
    pool.setHealthy('dev-1', true);
    pool.add('dev-9');
    await kubelet.untilAdvertised(pool.resource, () => pool.expected, BOUND_MS);
    assert.deepEqual(kubelet.advertised(pool.resource), ['!dev-0', 'dev-1', 'dev-2', 'dev-9']);
    assert.equal(kubelet.lists(pool.resource).length, 2);
    pool.setHealthy('dev-0', true);
    pool.remove('dev-9');
    await kubelet.untilAdvertised(pool.resource, () => ['dev-0', 'dev-1', 'dev-2'], BOUND_MS);
    assert.equal(kubelet.lists(pool.resource).length, 3);
  });

  it('sends nothing when a change comes to nothing', async () => {
    const pool = await serve(new MemoryPool('nabustore.io/rdma', 1));
    const reads = pool.reads;
    pool.setHealthy('dev-0', true);
    await eventually('the pool is read again', () => pool.reads > reads, BOUND_MS);
    pool.add('dev-1');
    await kubelet.untilAdvertised(pool.resource, () => pool.expected, BOUND_MS);
    assert.equal(kubelet.lists(pool.resource).length, 2);
  });

  it('serves several resources, each on a socket of its own, and takes one back alone', async () => {
    const pool = await serve(new MemoryPool('nabustore.io/rdma', 2));
    const other = new MemoryPool('nabustore.io/cufile-a', 1);
    plugin.serve(other);
    assert.throws(() => plugin.serve(other), { code: 'ALREADY_EXISTS' });
    await kubelet.untilAdvertised(other.resource, () => other.expected, BOUND_MS);
    await plugin.withdraw(other.resource);
    await kubelet.untilAdvertised(other.resource, () => ['!dev-0'], BOUND_MS);
    assert.equal(other.listeners, 0);
    assert.equal(plugin.state(other.resource), undefined);
    assert.deepEqual(kubelet.advertised(pool.resource), pool.expected);
    assert.equal(plugin.state(pool.resource)?.streams, 1);
  });

  it('gives a container what the pool grants, several containers in the order of the request', async () => {
    const { resource } = await serve(new MemoryPool('nabustore.io/rdma', 4));
    const answer = await kubelet
      .plugin(resource)
      .allocate(
        { containerRequests: [{ devicesIds: ['dev-2', 'dev-0'] }, { devicesIds: ['dev-1'] }] },
        { timeoutMs: BOUND_MS },
      );
    const grant = (...ids: string[]) => ({
      envs: { NABU_DEVICES: ids.join(',') },
      mounts: [{ containerPath: '/etc/cufile', hostPath: `/run/${ids[0]}`, readOnly: true }],
      devices: ids.map((id) => ({ containerPath: `/dev/${id}`, hostPath: `/host/dev/${id}`, permissions: 'rw' })),
      annotations: { 'nabustore.io/devices': String(ids.length) },
      cdiDevices: ids.map((id) => ({ name: `nabustore.io/rdma=${id}` })),
    });
    assert.deepEqual(answer.containerResponses, [grant('dev-2', 'dev-0'), grant('dev-1')]);
  });

  it('prefers what the pool prefers, and leaves out what has turned unhealthy since', async () => {
    const pool = await serve(new MemoryPool('nabustore.io/rdma', 4));
    pool.setHealthy('dev-0', false);
    await kubelet.untilAdvertised(pool.resource, () => pool.expected, BOUND_MS);
    const wanted = {
      availableDeviceIDs: ['dev-0', 'dev-1', 'dev-2', 'dev-3', 'gone'],
      mustIncludeDeviceIDs: ['dev-3'],
      allocationSize: 2,
    };
    const answer = await kubelet
      .plugin(pool.resource)
      .getPreferredAllocation({ containerRequests: [wanted, wanted] }, { timeoutMs: BOUND_MS });
    assert.deepEqual(answer.containerResponses, [{ deviceIDs: ['dev-3', 'dev-1'] }, { deviceIDs: ['dev-3', 'dev-1'] }]);
  });

  it('has the pool look at the devices before a container starts', async () => {
    const pool = await serve(new MemoryPool('nabustore.io/rdma', 2, { preStartRequired: true }));
    await kubelet.plugin(pool.resource).preStartContainer({ devicesIds: ['dev-1'] }, { timeoutMs: BOUND_MS });
    assert.deepEqual(pool.prepared, [['dev-1']]);
  });

  it('serves several streams at once, and counts them until their readers go', async () => {
    const pool = await serve(new MemoryPool('nabustore.io/rdma', 2));
    const gone = new AbortController();
    const firsts = await Promise.all(
      [1, 2, 3].map(async () => {
        const stream = kubelet.plugin(pool.resource).listAndWatch({}, gone)[Symbol.asyncIterator]();
        const first = await stream.next();
        const next = stream.next();
        next.catch(() => undefined);
        return { first, next };
      }),
    );
    assert.equal(plugin.state(pool.resource)?.streams, 4);
    pool.setHealthy('dev-0', false);
    for (const { first, next } of firsts) {
      assert.equal(first.value?.devices[0]?.health, 'Healthy');
      assert.equal((await next).value?.devices[0]?.health, 'Unhealthy');
    }
    gone.abort();
    await eventually('streams end', () => plugin.state(pool.resource)?.streams === 1, BOUND_MS);
    assert.equal(plugin.state(pool.resource)?.isRegistered, true);
  });
});
