import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, makeGenericClientConstructor, status } from '@grpc/grpc-js';
import { NabuError } from '../../../../common/errors/index.ts';
import { type ClientOf, type MessageInit, serviceDefinition } from '../../../../common/grpc/index.ts';
import { silentLogger } from '../../../../common/logging/index.ts';
import { realClock, SeededRandom } from '../../../../common/ports/index.ts';
import { type DevicePool, deviceId, KubeletPlugin, resourceName } from '../../../../device-plugin/kubelet/index.ts';
import type { v1beta1 } from '../../../../proto/gen/messages.js';
import { services } from '../../../../proto/gen/services.js';
import { KubeletDouble } from '../../../support/kubelet-double.ts';
import { MemoryPool } from '../../../support/memory-pool.ts';

const CALL = { timeoutMs: 2000 };

describe('what a kubelet may not ask', () => {
  let root: string;
  let kubelet: KubeletDouble;
  let plugin: KubeletPlugin;
  let pool: MemoryPool;
  let calls: ClientOf<(typeof services)['v1beta1.DevicePlugin']>;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'nabu-kubelet-'));
    kubelet = new KubeletDouble(join(root, 'device-plugins'));
    plugin = pluginIn(kubelet.folder);
    pool = new MemoryPool('nabustore.io/rdma', 4, { preStartRequired: true });
    pool.add('refused-by-pool');
    pool.setHealthy('dev-3', false);
    await kubelet.start();
    await plugin.start();
    plugin.serve(pool);
    await kubelet.untilAdvertised(pool.resource, () => pool.expected, 2000);
    calls = kubelet.plugin(pool.resource);
  });

  after(async () => {
    await plugin.close();
    await kubelet.stop();
    await rm(root, { recursive: true, force: true });
  });

  function pluginIn(folder: string): KubeletPlugin {
    return new KubeletPlugin({ folder, clock: realClock, random: new SeededRandom(1), logger: silentLogger });
  }

  const allocate = (...containers: string[][]) =>
    calls.allocate({ containerRequests: containers.map((devicesIds) => ({ devicesIds })) }, CALL);

  const prefer = (request: MessageInit<v1beta1.ContainerPreferredAllocationRequest>) =>
    calls.getPreferredAllocation({ containerRequests: [request] }, CALL);

  const fails = (call: Promise<unknown>, code: string, said: RegExp) =>
    assert.rejects(call, (err) => NabuError.is(err) && err.code === code && said.test(err.message));

  it('Allocate: no container, no device, one twice, also in two containers', async () => {
    await fails(allocate(), 'INVALID_ARGUMENT', /container_requests: names no container/);
    await fails(allocate(['dev-0'], []), 'INVALID_ARGUMENT', /container_requests\[1\].devices_ids: names no device/);
    await fails(allocate(['dev-0', 'dev-0']), 'INVALID_ARGUMENT', /names dev-0 twice/);
    await fails(allocate(['dev-0'], ['dev-0']), 'INVALID_ARGUMENT', /names dev-0 twice/);
  });

  it('Allocate: an id that no device can have, that none has, or whose device is unhealthy', async () => {
    await fails(allocate(['a'.repeat(64)]), 'INVALID_ARGUMENT', /63 printable characters/);
    await fails(allocate(['']), 'INVALID_ARGUMENT', /63 printable characters/);
    await fails(allocate(['dev-0', '__proto__']), 'DEVICE_NOT_FOUND', /nabustore.io\/rdma has no device __proto__/);
    await fails(allocate(['dev-3']), 'DEVICE_UNHEALTHY', /device dev-3 of nabustore.io\/rdma is unhealthy/);
  });

  it('Allocate: all or nothing, when a later container is refused by the pool itself', async () => {
    await fails(allocate(['dev-0'], ['refused-by-pool']), 'DEVICE_UNHEALTHY', /refused-by-pool/);
  });

  it('GetPreferredAllocation: sizes that cannot be, and units that are not to be had', async () => {
    const available = ['dev-0', 'dev-1', 'dev-3'];
    const request = { availableDeviceIDs: available, mustIncludeDeviceIDs: [] as string[], allocationSize: 1 };
    await fails(prefer({ ...request, allocationSize: 0 }), 'INVALID_ARGUMENT', /0 is not at least 1/);
    await fails(prefer({ ...request, allocationSize: -1 }), 'INVALID_ARGUMENT', /-1 is not at least 1/);
    await fails(prefer({ ...request, allocationSize: 4 }), 'INVALID_ARGUMENT', /4 is more than the 3/);
    await fails(prefer({ ...request, availableDeviceIDs: [] }), 'INVALID_ARGUMENT', /names no device/);
    await fails(prefer({ ...request, availableDeviceIDs: ['a', 'a'] }), 'INVALID_ARGUMENT', /names a twice/);
    const must = (...ids: string[]) => prefer({ ...request, mustIncludeDeviceIDs: ids });
    await fails(must('dev-0', 'dev-1'), 'INVALID_ARGUMENT', /1 is less than the 2/);
    await fails(must('dev-2'), 'INVALID_ARGUMENT', /dev-2 is not among those that are available/);
    await fails(must('dev-3'), 'DEVICE_UNHEALTHY', /dev-3/);
    await fails(prefer({ ...request, allocationSize: 3 }), 'RESOURCE_EXHAUSTED', /3 are wanted, 2 of the 3/);
  });

  it('PreStartContainer: no device, one twice, one unknown', async () => {
    const start = (...devicesIds: string[]) => calls.preStartContainer({ devicesIds }, CALL);
    await fails(start(), 'INVALID_ARGUMENT', /names no device/);
    await fails(start('dev-0', 'dev-0'), 'INVALID_ARGUMENT', /twice/);
    await fails(start('dev-8'), 'DEVICE_NOT_FOUND', /dev-8/);
    assert.deepEqual(pool.prepared, []);
  });

  it('calls that the options do not offer', async () => {
    const plain = new MemoryPool('nabustore.io/plain', 1, { getPreferredAllocationAvailable: false });
    plugin.serve(plain);
    await kubelet.untilAdvertised(plain.resource, () => plain.expected, 2000);
    const other = kubelet.plugin(plain.resource);
    await fails(other.preStartContainer({ devicesIds: ['dev-0'] }, CALL), 'UNIMPLEMENTED', /PreStartContainer/);
    await fails(other.getPreferredAllocation({}, CALL), 'UNIMPLEMENTED', /GetPreferredAllocation/);
    await plugin.withdraw(plain.resource);
  });

  it('answers with gRPC statuses that others understand, and bytes that are no message or too many of them too', async () => {
    const definition = serviceDefinition(services['v1beta1.DevicePlugin']);
    const Raw = makeGenericClientConstructor(definition, 'DevicePlugin');
    const raw = new Raw(`unix:${join(kubelet.folder, 'nabustore.io_rdma.sock')}`, credentials.createInsecure(), {
      'grpc.default_authority': 'localhost',
    });
    const statusOf = (bytes: Uint8Array): Promise<number | undefined> =>
      new Promise((resolve) => {
        const path = '/v1beta1.DevicePlugin/Allocate';
        const whole = (given: Uint8Array): Buffer => Buffer.from(given);
        raw.makeUnaryRequest(path, whole, whole, bytes, (err) => resolve(err?.code));
      });
    const request = (id: string): Uint8Array =>
      Buffer.concat([Buffer.from([0x0a, id.length + 2, 0x0a, id.length]), Buffer.from(id)]);
    try {
      assert.equal(await statusOf(new Uint8Array(0)), status.INVALID_ARGUMENT);
      assert.equal(await statusOf(Buffer.from([0xff, 0xff])), status.INVALID_ARGUMENT);
      assert.equal(await statusOf(request('nobody')), status.NOT_FOUND);
      assert.equal(await statusOf(request('dev-3')), status.FAILED_PRECONDITION);
      assert.equal(await statusOf(Buffer.alloc(5 << 20)), status.RESOURCE_EXHAUSTED);
      assert.equal(await statusOf(request('dev-1')), undefined);
    } finally {
      raw.close();
    }
  });

  it('is nothing to the server: it goes on as before', async () => {
    assert.equal((await allocate(['dev-0'])).containerResponses.length, 1);
    assert.equal(plugin.state(pool.resource)?.isRegistered, true);
  });
});

describe('what a pool may not say', () => {
  const plugin = new KubeletPlugin({
    folder: '/nonexistent',
    clock: realClock,
    random: new SeededRandom(1),
    logger: silentLogger,
  });
  const poolOf = (changes: Partial<DevicePool>): DevicePool => {
    const pool = new MemoryPool('nabustore.io/rdma', 1);
    return {
      resource: pool.resource,
      options: pool.options,
      devices: () => pool.devices(),
      watch: (listener) => pool.watch(listener),
      prefer: (available, mustInclude, size) => pool.prefer(available, mustInclude, size),
      allocate: (ids, deadline) => pool.allocate(ids, deadline),
      ...changes,
    };
  };
  const device = (id: string, numaNodes: number[] = []) => ({ id: deviceId(id), healthy: true, numaNodes });

  it('two devices with one id, a node that is none, more devices than one message takes', () => {
    assert.throws(
      () => plugin.serve(poolOf({ devices: () => [device('a'), device('a')] })),
      /1 ids are there more than once/,
    );
    assert.throws(() => plugin.serve(poolOf({ devices: () => [device('a', [-1])] })), { code: 'INVALID_ARGUMENT' });
    const many = Array.from({ length: 60_000 }, (_, at) => device(`${'x'.repeat(57)}${String(at).padStart(6, '0')}`));
    assert.throws(() => plugin.serve(poolOf({ devices: () => many })), { code: 'MESSAGE_TOO_LARGE' });
  });

  it('that it has something to do before a container starts, and no function for it', () => {
    const options = { preStartRequired: true, getPreferredAllocationAvailable: true };
    assert.throws(() => plugin.serve(poolOf({ options })), /preStartRequired without prepare/);
  });

  it('a resource whose socket would have too long a path, a folder that is relative', () => {
    const resource = resourceName(`${'a'.repeat(60)}.io/${'b'.repeat(60)}`);
    assert.throws(() => plugin.serve(poolOf({ resource })), { code: 'INVALID_ARGUMENT' });
    const folder = 'device-plugins';
    const parts = { clock: realClock, random: new SeededRandom(1), logger: silentLogger };
    assert.throws(() => new KubeletPlugin({ folder, ...parts }), { code: 'INVALID_ARGUMENT' });
  });
});

describe('the name of a resource', () => {
  it('is one that the kubelet takes', () => {
    for (const name of ['nabustore.io/rdma', 'nabustore.io/hugetlbfs-2Mi', 'a/b', `${'a'.repeat(63)}.b/C_d.e-f`]) {
      assert.equal(resourceName(name), name);
    }
  });

  it('is refused when it is not qualified, is of Kubernetes, or reads as a quota', () => {
    const bad = [
      'rdma',
      '/rdma',
      'nabustore.io/',
      'Nabustore.io/rdma',
      'nabustore.io/-x',
      'nabustore.io/x-',
      'a/b/c',
      'a..b/c',
    ];
    const long = [`a/${'b'.repeat(64)}`, `${'a'.repeat(245)}/b`];
    const reserved = ['kubernetes.io/rdma', 'node.kubernetes.io/rdma', 'requests.nabustore.io/rdma'];
    const odd = ['nabustore.io/x y', 'nabustore.io/\u0000', '', '-a/b', '../../etc/passwd'];
    for (const name of [...bad, ...long, ...reserved, ...odd]) {
      assert.throws(() => resourceName(name), { code: 'INVALID_ARGUMENT' }, JSON.stringify(name));
    }
  });
});
