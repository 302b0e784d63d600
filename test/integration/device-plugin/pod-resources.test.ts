import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Deadline } from '../../../common/concurrency/index.ts';
import { NabuError } from '../../../common/errors/index.ts';
import { realClock } from '../../../common/ports/index.ts';
import { PodResources } from '../../../device-plugin/pod-resources/index.ts';
import { PodResourcesDouble } from '../../support/pod-resources-double.ts';

const RDMA = 'nabustore.io/rdma';
const GPU = 'nvidia.com/gpu';
const UUID = 'GPU-5fd4f7a2-0000-0000-0000-000000000001';

function deadline(timeoutMs: number): Deadline {
  return new Deadline({ clock: realClock, operation: 'asking in a test', timeoutMs });
}

describe('the pod resources API', () => {
  let root: string;
  let kubelet: PodResourcesDouble;
  let client: PodResources;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'nabu-pods-'));
    kubelet = new PodResourcesDouble(join(root, 'pod-resources', 'kubelet.sock'));
    client = new PodResources({ socket: kubelet.socket, clock: realClock });
  });

  afterEach(async () => {
    client.close();
    await kubelet.stop();
    await rm(root, { recursive: true, force: true });
  });

  it('says what a container holds, of every plugin and by claim, each device once with all its nodes', async () => {
    await kubelet.start();
    kubelet.containers = [
      { pod: 'web' },
      {
        namespace: 'ml',
        pod: 'train-0',
        devices: { [RDMA]: ['0000:18:00.0-0', '0000:3a:00.0-0'], [GPU]: [UUID] },
        numaNodes: [1, 0],
        claimed: [['gpu.nvidia.com', 'node-7', 'gpu-3']],
      },
    ];
    using limit = deadline(5000);
    const pods = await client.list(limit);
    assert.deepEqual(
      pods.map(({ namespace, name }) => `${namespace}/${name}`),
      ['default/web', 'ml/train-0'],
    );
    assert.deepEqual(await client.holderOf(RDMA, '0000:3a:00.0-0', limit), {
      namespace: 'ml',
      pod: 'train-0',
      container: 'main',
      devices: [
        { resource: RDMA, id: '0000:18:00.0-0', numaNodes: [0, 1] },
        { resource: RDMA, id: '0000:3a:00.0-0', numaNodes: [0, 1] },
        { resource: GPU, id: UUID, numaNodes: [0, 1] },
      ],
      claims: [
        {
          namespace: 'ml',
          name: 'train-0-claim',
          devices: [{ driver: 'gpu.nvidia.com', pool: 'node-7', device: 'gpu-3', shareId: undefined }],
        },
      ],
    });
  });

  it('knows no holder of a device that nobody holds, of another resource with the same id, or that two seem to hold', async () => {
    await kubelet.start();
    kubelet.containers = [
      { pod: 'a', devices: { [RDMA]: ['x'] } },
      { pod: 'b', devices: { [RDMA]: ['x'], 'nabustore.io/gds': ['y'] } },
    ];
    using limit = deadline(5000);
    assert.equal(await client.holderOf(RDMA, 'free', limit), undefined);
    assert.equal(await client.holderOf(RDMA, 'y', limit), undefined);
    assert.equal(await client.holderOf(RDMA, 'x', limit), undefined);
  });

  it('asks again when the kubelet says that it is asked too often, and waits for one that is starting', async () => {
    kubelet.containers = [{ pod: 'a', devices: { [RDMA]: ['x'] } }];
    using limit = deadline(10_000);
    const early = client.holderOf(RDMA, 'x', limit);
    await kubelet.start({ refusals: 3 });
    assert.equal((await early)?.pod, 'a');
    assert.equal(kubelet.lists, 4);
  });

  it('finds a kubelet that was restarted', async () => {
    kubelet.containers = [{ pod: 'a', devices: { [RDMA]: ['x'] } }];
    using limit = deadline(10_000);
    await kubelet.start();
    assert.equal((await client.holderOf(RDMA, 'x', limit))?.pod, 'a');
    await kubelet.stop();
    await kubelet.start();
    assert.equal((await client.holderOf(RDMA, 'x', limit))?.pod, 'a');
  });

  it('answers 100 callers at once', async () => {
    await kubelet.start();
    kubelet.containers = Array.from({ length: 100 }, (_, at) => ({
      pod: `pod-${at}`,
      devices: { [RDMA]: [`id-${at}`] },
    }));
    using limit = deadline(10_000);
    const holders = await Promise.all(kubelet.containers.map((_, at) => client.holderOf(RDMA, `id-${at}`, limit)));
    assert.deepEqual(
      holders.map((holder) => holder?.pod),
      kubelet.containers.map(({ pod }) => pod),
    );
  });

  it('ends at the deadline when the kubelet hangs, and says what the kubelet said when it is away or refuses', async () => {
    using never = deadline(100);
    await assert.rejects(client.list(never), (err) => NabuError.is(err, 'UNAVAILABLE'));
    await kubelet.start({ hangs: true });
    using hung = deadline(200);
    await assert.rejects(client.list(hung), (err) => NabuError.is(err, 'TIMEOUT', 'UNAVAILABLE'));
    await kubelet.stop();
    await kubelet.start({ refusals: 1_000_000 });
    using refused = deadline(1000);
    await assert.rejects(client.list(refused), (err) => NabuError.is(err, 'RESOURCE_EXHAUSTED'));
  });

  it('refuses an answer that is larger than it takes, without asking twice', async () => {
    client.close();
    client = new PodResources({ socket: kubelet.socket, clock: realClock, maxMessageBytes: 4096 });
    await kubelet.start();
    kubelet.containers = Array.from({ length: 200 }, (_, at) => ({ pod: `pod-${at}`, devices: { [RDMA]: [`${at}`] } }));
    using limit = deadline(5000);
    await assert.rejects(client.list(limit), (err) => NabuError.is(err, 'RESOURCE_EXHAUSTED'));
    assert.equal(kubelet.lists, 1);
  });

  it('says what one pod holds, also where the kubelet has no call for one pod', async () => {
    for (const hasNoGet of [false, true]) {
      await kubelet.start({ hasNoGet });
      kubelet.containers = [{ pod: 'web' }, { namespace: 'ml', pod: 'train-0', devices: { [RDMA]: ['a-0'] } }];
      using limit = deadline(5000);
      const pod = await client.podOf('ml', 'train-0', limit);
      assert.deepEqual(
        pod?.containers.flatMap(({ devices }) => devices),
        [{ resource: RDMA, id: 'a-0', numaNodes: [] }],
      );
      assert.equal(await client.podOf('default', 'train-0', limit), undefined);
      await kubelet.stop();
    }
    assert.deepEqual([kubelet.gets, kubelet.lists], [4, 2], 'the list is asked for only where there is nothing else');
  });
});
