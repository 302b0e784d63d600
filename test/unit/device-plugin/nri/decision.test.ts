import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Deadline } from '../../../../common/concurrency/index.ts';
import { decodeMessage, encodeMessage, type MessageInit } from '../../../../common/grpc/index.ts';
import { type LogFields, type Logger, silentLogger } from '../../../../common/logging/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import {
  type Adjustment,
  cannotRaise,
  DeviceHolders,
  MemlockHandler,
  memlockChange,
  type NriHandler,
  pluginHandlers,
  UNLIMITED,
} from '../../../../device-plugin/nri/index.ts';
import type { PodHolding } from '../../../../device-plugin/pod-resources/index.ts';
import type { nri } from '../../../../proto/gen/messages.js';
import { services } from '../../../../proto/gen/nri.js';

type Container = nri.pkg.api.v1alpha1.Container;
type CreateContainerRequest = nri.pkg.api.v1alpha1.CreateContainerRequest;

const { createContainer } = services['nri.pkg.api.v1alpha1.Plugin'];

/** A request as it comes off the wire. */
function creation(container: MessageInit<Container> = {}): CreateContainerRequest {
  const request = { pod: { namespace: 'ai', name: 'train' }, container: { name: 'main', ...container } };
  return decodeMessage(
    createContainer.request,
    encodeMessage(createContainer.request, request),
  ) as CreateContainerRequest;
}

function shown(devices: Readonly<Record<string, string>>, drivers: readonly string[] = []): PodHolding {
  return {
    namespace: 'ai',
    name: 'train',
    containers: [
      {
        namespace: 'ai',
        pod: 'train',
        container: 'main',
        devices: Object.entries(devices).map(([resource, id]) => ({ resource, id, numaNodes: [] })),
        claims: drivers.map((driver) => ({
          namespace: 'ai',
          name: 'claim',
          devices: [{ driver, pool: 'node', device: 'd', shareId: undefined }],
        })),
      },
    ],
  };
}

const UVERBS = { linux: { devices: [{ path: '/dev/infiniband/uverbs0', type: 'c', major: 231, minor: 192 }] } };
const IOMMUFD = { linux: { devices: [{ path: '/dev/vfio/devices/vfio3', type: 'c', major: 511, minor: 3 }] } };
const VARIABLE = { env: ['PATH=/bin', 'NABUSTORE_RDMA_DEVICES=mlx5_0'] };
const HUGETLBFS = { mounts: [{ destination: '/dev/hugepages-2Mi', type: 'hugetlbfs', source: 'nodev' }] };

describe('who holds devices of ours', () => {
  let clock: SimClock;
  let deadline: Deadline;
  let asked = 0;
  let list: () => Promise<readonly PodHolding[]>;

  beforeEach(() => {
    clock = new SimClock();
    deadline = new Deadline({ clock, operation: 'test', timeoutMs: 1000 });
    asked = 0;
    list = () => Promise.resolve([]);
  });
  afterEach(() => deadline[Symbol.dispose]());

  async function held(container: MessageInit<Container>): Promise<readonly string[] | undefined> {
    const podResources = {
      podOf: async (namespace: string, name: string) => {
        asked++;
        return (await list()).find((one) => one.namespace === namespace && one.name === name);
      },
    };
    const { pod, container: made } = creation(container);
    assert.ok(pod !== null && made !== null);
    const found = await new DeviceHolders(podResources, silentLogger).heldBy(pod, made, deadline);
    return found && [found.says, ...found.what];
  }

  it('is the word of the kubelet, for devices of the plugin and for claims', async () => {
    list = () => Promise.resolve([shown({ 'nabustore.io/rdma': '0000:18:00.0-0', 'nvidia.com/gpu': 'GPU-1' })]);
    assert.deepEqual(await held(UVERBS), ['kubelet', 'nabustore.io/rdma']);
    list = () => Promise.resolve([shown({}, ['gpu.nvidia.com', 'devices.nabustore.io'])]);
    assert.deepEqual(await held(UVERBS), ['kubelet', 'devices.nabustore.io']);
    list = () => Promise.resolve([shown({ 'nabustore.io/cufile': 'numa0-0' })]);
    assert.deepEqual(await held({ env: ['CUFILE_ENV_PATH_JSON=/etc/cufile/cufile.json'] }), [
      'kubelet',
      'nabustore.io/cufile',
    ]);
    list = () => Promise.resolve([shown({ 'nabustore.io/hugetlbfs-2Mi': '2Mi-numa0-0' })]);
    assert.deepEqual(await held(HUGETLBFS), ['kubelet', 'nabustore.io/hugetlbfs-2Mi']);
    assert.equal(asked, 4);
  });

  it('is nobody whom nothing hints at, and the kubelet is not asked', async () => {
    list = () => Promise.reject(new Error('must not be asked'));
    assert.equal(await held({}), undefined);
    assert.equal(
      await held({ env: ['NABU=1', 'MY_NABUSTORE_X=1'], mounts: [{ type: 'bind', source: '/dev' }] }),
      undefined,
    );
    assert.equal(await held({ linux: { devices: [{ path: '/dev/null' }, { path: '/dev/nvidia0' }] } }), undefined);
    assert.equal(asked, 0);
  });

  it('is nobody of whom the kubelet knows otherwise, whatever the pod says of itself', async () => {
    list = () => Promise.resolve([shown({ 'nvidia.com/gpu': 'GPU-1', 'rdma/hca': 'a', 'nabustore.iox/a': 'b' })]);
    assert.equal(await held(VARIABLE), undefined);
    assert.equal(await held({ ...UVERBS, ...VARIABLE, ...HUGETLBFS }), undefined);
    list = () => Promise.resolve([shown({}, ['evilnabustore.io'])]);
    assert.equal(await held(VARIABLE), undefined);
  });

  it('is decided by the spec for containers that the kubelet does not show, and a variable alone is nothing', async () => {
    const other = { ...shown({ 'nabustore.io/rdma': 'x' }), name: 'other' };
    for (const pods of [[], [other], [{ ...shown({}), containers: [] }]]) {
      list = () => Promise.resolve(pods);
      assert.equal(await held(VARIABLE), undefined);
      assert.equal(await held(UVERBS), undefined, 'of a privileged container, or of another plugin');
      assert.deepEqual(await held({ ...UVERBS, ...VARIABLE }), ['spec', '/dev/infiniband/uverbs0']);
      assert.deepEqual(await held({ ...IOMMUFD, ...VARIABLE }), ['spec', '/dev/vfio/devices/vfio3']);
      assert.deepEqual(await held(HUGETLBFS), ['spec', 'hugetlbfs']);
    }
  });

  it('is decided by the spec, before the time is over, when the kubelet fails or hangs', async () => {
    list = () => Promise.reject(new Error('no such file'));
    assert.deepEqual(await held({ ...UVERBS, ...VARIABLE }), ['spec', '/dev/infiniband/uverbs0']);
    assert.equal(await held(VARIABLE), undefined);
    list = () => new Promise(() => undefined);
    const slow = held({ ...UVERBS, ...VARIABLE });
    await clock.advance(701);
    assert.deepEqual(await slow, ['spec', '/dev/infiniband/uverbs0']);
    assert.equal(deadline.expired, false);
  });
});

describe('the limit of locked memory', () => {
  const memlock = (soft: bigint) => ({ type: 'RLIMIT_MEMLOCK', hard: soft, soft });

  it('is set where there is none, and left alone where somebody has set one', () => {
    const nofile = { type: 'RLIMIT_NOFILE', hard: 1n, soft: 1n };
    assert.deepEqual(memlockChange([nofile], UNLIMITED), { kind: 'set', rlimit: memlock(UNLIMITED) });
    assert.deepEqual(memlockChange([memlock(UNLIMITED)], UNLIMITED), { kind: 'enough' });
    assert.deepEqual(memlockChange([memlock(100n)], 99n), { kind: 'enough' });
    assert.deepEqual(memlockChange([memlock(UNLIMITED), memlock(7n)], 99n), { kind: 'taken', bytes: 7n });
  });
});

describe('whether the container runtime may raise a limit', () => {
  let procRoot = '';
  const CAPABLE = '000001ffffffffff';
  const WITHOUT = '000001fffeffffff';

  beforeEach(async () => {
    procRoot = await mkdtemp(join(tmpdir(), 'nabu-proc-'));
  });
  afterEach(async () => await rm(procRoot, { recursive: true, force: true }));

  async function process(pid: string, comm: string, capabilities: string, hard: string): Promise<void> {
    await mkdir(join(procRoot, pid));
    await writeFile(join(procRoot, pid, 'comm'), `${comm}\n`);
    await writeFile(join(procRoot, pid, 'status'), `Name:\t${comm}\nCapEff:\t${capabilities}\nCapBnd:\t0\n`);
    const limits = `Limit                     Soft Limit           Hard Limit           Units\nMax locked memory         8388608              ${hard.padEnd(20)} bytes\n`;
    await writeFile(join(procRoot, pid, 'limits'), limits);
  }

  it('is not known where no runtime is to be seen, or no procfs', async () => {
    await process('17', 'node', WITHOUT, '8388608');
    await mkdir(join(procRoot, '18'));
    assert.equal(await cannotRaise(procRoot, UNLIMITED), undefined);
    assert.equal(await cannotRaise(join(procRoot, 'none'), UNLIMITED), undefined);
  });

  it('is so with the capability, and up to its own limit without', async () => {
    await process('17', 'containerd', WITHOUT, '8388608');
    assert.match(
      (await cannotRaise(procRoot, UNLIMITED)) ?? '',
      /containerd \(pid 17\) has no CAP_SYS_RESOURCE .* 8388608/,
    );
    assert.equal(await cannotRaise(procRoot, 8_388_608n), undefined);
    await process('18', 'crio', WITHOUT, 'unlimited');
    assert.equal(await cannotRaise(procRoot, UNLIMITED), undefined, 'one of them may');
    await rm(join(procRoot, '18'), { recursive: true });
    await process('19', 'containerd', CAPABLE, '8388608');
    assert.equal(await cannotRaise(procRoot, UNLIMITED), undefined);
  });
});

describe('the handler of new containers', () => {
  let lines: [string, string, LogFields?][] = [];
  const at =
    (level: string) =>
    (message: string, fields?: LogFields): void =>
      void lines.push(fields === undefined ? [level, message] : [level, message, fields]);
  const logger: Logger = {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: () => logger,
    isEnabled: () => true,
  };
  let cause: string | undefined;
  let deadline: Deadline;

  beforeEach(() => {
    lines = [];
    cause = undefined;
    deadline = new Deadline({ clock: new SimClock(), operation: 'test', timeoutMs: 1000 });
  });
  afterEach(() => deadline[Symbol.dispose]());

  const decide = (request: CreateContainerRequest, isHolder: boolean): Promise<Adjustment | undefined> =>
    new MemlockHandler({
      holders: {
        heldBy: () => Promise.resolve(isHolder ? { says: 'kubelet', what: ['nabustore.io/rdma'] } : undefined),
      },
      bytes: UNLIMITED,
      cannotRaise: () => Promise.resolve(cause),
      logger,
    }).createContainer(request, deadline);

  it('sets the limit for holders, and says so, and nothing for the others', async () => {
    assert.deepEqual(await decide(creation(), true), {
      rlimits: [{ type: 'RLIMIT_MEMLOCK', hard: UNLIMITED, soft: UNLIMITED }],
    });
    assert.deepEqual(lines, [
      ['info', 'limit of locked memory set', { limit: 'unlimited', holds: ['nabustore.io/rdma'], says: 'kubelet' }],
    ]);
    assert.equal(await decide(creation(), false), undefined);
    assert.equal(lines.length, 1);
  });

  it('changes nothing that would make the runtime fail the container, and says why', async () => {
    const rlimits = [{ type: 'RLIMIT_MEMLOCK', hard: 65_536, soft: 65_536 }];
    assert.equal(await decide(creation({ rlimits }), true), undefined);
    cause = 'containerd has no CAP_SYS_RESOURCE';
    assert.equal(await decide(creation(), true), undefined);
    assert.deepEqual(
      lines.map(([level, message]) => [level, message]),
      [
        ['warn', 'the limit of locked memory is set by somebody else: left alone'],
        ['error', 'the limit of locked memory is not set: the container runtime may not'],
      ],
    );
    assert.equal(await decide({ pod: null, container: null }, true), undefined);
  });
});

describe('the answers to the runtime', () => {
  const PLUGIN = services['nri.pkg.api.v1alpha1.Plugin'];
  let clock: SimClock;
  let deadline: Deadline;

  beforeEach(() => {
    clock = new SimClock();
    deadline = new Deadline({ clock, operation: 'test', timeoutMs: 2000 });
  });
  afterEach(() => deadline[Symbol.dispose]());

  const answer = async (path: string, payload: Uint8Array, handler: Partial<NriHandler> = {}): Promise<Buffer> => {
    const all: NriHandler = {
      createContainer: () => Promise.resolve(undefined),
      synchronize: () => undefined,
      ...handler,
    };
    const found = pluginHandlers(all, silentLogger, () => undefined).get(path);
    assert.ok(found, path);
    return Buffer.from(await found(payload, deadline));
  };

  it('subscribe to the making of containers and to nothing else', async () => {
    const payload = encodeMessage(PLUGIN.configure.request, { runtimeName: 'containerd', runtimeVersion: 'v2.2.9' });
    const { events } = decodeMessage(PLUGIN.configure.response, await answer(PLUGIN.configure.path, payload)) as {
      events: number;
    };
    assert.equal(events, 8);
  });

  it('say nothing is to be changed when the handler throws, hangs, or the request is none', async () => {
    const payload = encodeMessage(PLUGIN.createContainer.request, { container: { name: 'a' } });
    const { path } = PLUGIN.createContainer;
    const bug = (): Promise<undefined> => {
      throw new TypeError('a bug');
    };
    assert.equal((await answer(path, payload, { createContainer: bug })).length, 0);
    assert.equal((await answer(path, payload, { createContainer: () => Promise.reject(new Error('no')) })).length, 0);
    assert.equal((await answer(path, Buffer.from([0x0a, 0xff]))).length, 0);
    const hung = answer(path, payload, { createContainer: () => new Promise(() => undefined) });
    await clock.advance(1000);
    assert.equal((await hung).length, 0);
    assert.equal(deadline.expired, false);
  });

  it('go on with a list in parts, also where looking at it fails', async () => {
    const seen: number[] = [];
    const { path } = PLUGIN.synchronize;
    for (const more of [true, false]) {
      const payload = encodeMessage(PLUGIN.synchronize.request, { containers: [{}, {}], more });
      const synchronize = (containers: readonly Container[]): void => {
        seen.push(containers.length);
        throw new TypeError('a bug');
      };
      const bytes = await answer(path, payload, { synchronize });
      assert.deepEqual(decodeMessage(PLUGIN.synchronize.response, bytes), { update: [], more });
    }
    assert.deepEqual(seen, [2, 2]);
  });

  it('are empty for everything else that a runtime may ask', async () => {
    for (const { path } of [PLUGIN.shutdown, PLUGIN.updateContainer, PLUGIN.stateChange, PLUGIN.stopContainer]) {
      assert.equal((await answer(path, Buffer.alloc(0))).length, 0);
    }
  });
});
