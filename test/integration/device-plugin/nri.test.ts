import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MessageInit } from '../../../common/grpc/index.ts';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock, realRandom, SeededRandom } from '../../../common/ports/index.ts';
import { type NriHandler, NriPlugin, type NriPluginOptions } from '../../../device-plugin/nri/index.ts';
import type { nri } from '../../../proto/gen/messages.js';
import { services } from '../../../proto/gen/nri.js';
import { NriRuntimeDouble, type PluginConnection } from '../../support/nri-runtime-double.ts';
import { PodResourcesDouble } from '../../support/pod-resources-double.ts';

const NABU = fileURLToPath(new URL('../../../nabu', import.meta.url));
const { createContainer, synchronize } = services['nri.pkg.api.v1alpha1.Plugin'];
const UNLIMITED = 2n ** 64n - 1n;
/** Within which a runtime that is there again has its plugin. */
const BOUND_MS = 2000;

type Request = MessageInit<nri.pkg.api.v1alpha1.CreateContainerRequest>;

const openDescriptors = async (): Promise<number> => (await readdir('/proc/self/fd')).length;

async function rlimitsOf(plugin: PluginConnection, request: Request): Promise<unknown> {
  const answer = await plugin.createContainer(request);
  assert.ok(typeof answer === 'object', String(answer));
  assert.equal(answer.status, 0);
  return answer.response.adjust?.rlimits;
}

describe('the NRI plugin on a socket', () => {
  let folder = '';
  let runtime: NriRuntimeDouble;
  let plugin: NriPlugin | undefined;
  let made: string[] = [];

  /** Sets a limit for containers called 'holder', and fails or hangs for those that are called so; 'much' gets a long answer. */
  const handler: NriHandler = {
    async createContainer({ container }) {
      const name = container?.name ?? '';
      made.push(name);
      if (name === 'bug') throw new TypeError('a bug');
      if (name === 'hang') await new Promise(() => undefined);
      if (name === 'much') return { env: [{ key: 'MUCH', value: 'x'.repeat(100_000) }] };
      if (name !== 'holder') return undefined;
      return { rlimits: [{ type: 'RLIMIT_MEMLOCK', hard: UNLIMITED, soft: UNLIMITED }] };
    },
    synchronize: () => undefined,
  };

  function start(overrides: Partial<NriPluginOptions> = {}): NriPlugin {
    plugin = new NriPlugin({
      socketPath: runtime.socketPath,
      name: 'nabustore',
      index: '90',
      handler,
      clock: realClock,
      random: realRandom,
      logger: silentLogger,
      ...overrides,
    });
    plugin.start();
    return plugin;
  }

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nabu-nri-'));
    runtime = new NriRuntimeDouble(join(folder, 'nri.sock'));
    made = [];
  });
  afterEach(async () => {
    await plugin?.close();
    plugin = undefined;
    await runtime.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('registers, subscribes to new containers, and changes those that it should', async () => {
    await runtime.start();
    const own = start();
    const connection = await runtime.plugin();
    assert.deepEqual(connection.registered, [{ name: 'nabustore', index: '90' }]);
    assert.equal(connection.events, 8);
    assert.deepEqual(own.state, { runtime: { name: 'double', version: '1' }, cause: undefined });
    assert.deepEqual(await rlimitsOf(connection, { container: { name: 'holder' } }), [
      { type: 'RLIMIT_MEMLOCK', hard: UNLIMITED, soft: UNLIMITED },
    ]);
    assert.equal(await rlimitsOf(connection, { container: { name: 'other' } }), undefined);
  });

  it('never fails a container: not by a bug, not by hanging, not by a request that it cannot read', async () => {
    await runtime.start();
    start();
    const connection = await runtime.plugin();
    const sinceMs = realClock.monotonicMs();
    for (const name of ['bug', 'hang', 'bug', 'other']) {
      assert.equal(await rlimitsOf(connection, { container: { name } }), undefined);
    }
    assert.ok(realClock.monotonicMs() - sinceMs < 2000, 'before the runtime gives the plugin up');
    const broken = await connection.request(createContainer.path, Buffer.from([0x0a, 0xff, 0x01]));
    assert.deepEqual(broken, { status: 0, response: Buffer.alloc(0) });
    assert.ok(connection.isOpen);
  });

  it('understands what comes byte by byte, in the middle of headers, and much at once', async () => {
    const random = new SeededRandom(7);
    const cut = (bytes: Buffer): readonly Buffer[] => {
      const pieces: Buffer[] = [];
      for (let at = 0; at < bytes.length; ) {
        const size = 1 + (random.uint32() % 40);
        pieces.push(bytes.subarray(at, at + size));
        at += size;
      }
      return pieces;
    };
    await runtime.start({ cut });
    start();
    const connection = await runtime.plugin();
    const names = Array.from({ length: 40 }, (_, at) => (at % 3 === 0 ? 'holder' : 'other'));
    const answers = await Promise.all(names.map((name) => rlimitsOf(connection, { container: { name } })));
    assert.deepEqual(
      answers.map((rlimits) => rlimits !== undefined),
      names.map((name) => name === 'holder'),
    );
  });

  it('reads a list of megabytes, and sends no frame that the runtime could not read', async () => {
    await runtime.start();
    start();
    const connection = await runtime.plugin();
    const env = Array.from({ length: 40 }, (_, at) => `VARIABLE_${at}=${'x'.repeat(200)}`);
    const containers = Array.from({ length: 300 }, (_, at) => ({ id: String(at), name: 'c', env }));
    const answer = await connection.call(synchronize, { containers, more: true });
    assert.deepEqual(answer, { status: 0, response: { update: [], more: true } });
    const much = await connection.createContainer({ container: { name: 'much' } });
    assert.equal(typeof much === 'object' && much.response.adjust?.env[0]?.value.length, 100_000);
    assert.equal(Math.max(...connection.frameBytes), 4096);
  });

  it('is there again after each of 10 restarts of the runtime, and leaks no descriptor', async () => {
    await runtime.start();
    const own = start();
    await runtime.plugin();
    const before = await openDescriptors();
    for (let restart = 1; restart <= 10; restart++) {
      await runtime.stop();
      await runtime.start();
      const sinceMs = realClock.monotonicMs();
      const connection = await runtime.plugin(restart + 1);
      assert.ok(realClock.monotonicMs() - sinceMs < BOUND_MS, `restart ${restart}`);
      assert.ok((await rlimitsOf(connection, { container: { name: 'holder' } })) !== undefined);
    }
    assert.ok((await openDescriptors()) <= before + 1);
    assert.equal(own.state.cause, undefined);
  });

  it('waits for a runtime that is not there, or refuses, and says why', async () => {
    const own = start();
    while (own.state.cause === undefined) await realClock.sleep(1);
    assert.match(own.state.cause, /^UNAVAILABLE: .*ENOENT/);
    await runtime.start({ refuses: 3 });
    await runtime.connection(2);
    while (!/PROTOCOL_ERROR/.test(own.state.cause ?? '')) await realClock.sleep(1);
    assert.match(own.state.cause ?? '', /status 3: refused by the test/);
    runtime.manners = {};
    while (own.state.runtime === undefined) await realClock.sleep(1);
    assert.equal(own.state.cause, undefined);
  });

  it('gives up on a runtime that takes the connection and says nothing, and tries again', async () => {
    await runtime.start({ isSilent: true });
    const own = start({ registrationTimeoutMs: 50 });
    await runtime.connection(2);
    assert.match(own.state.cause ?? '', /^TIMEOUT: registration with NRI/);
    runtime.manners = {};
    while (own.state.runtime === undefined) await realClock.sleep(1);
  });

  it('meets 200 seeded connections full of garbage by connecting again', async () => {
    const random = new SeededRandom(99);
    await runtime.start();
    start({ registrationTimeoutMs: 200, backoff: { firstMs: 1, mostMs: 5 } });
    for (let round = 1; round <= 200; round++) {
      const connection = await runtime.connection(round);
      if (random.float() < 0.3) await connection.ready;
      const garbage = Buffer.from(random.bytes(16 + (random.uint32() % 200)));
      garbage.fill(0xff, 4, 8); // a length that nobody may have
      connection.sendRaw(garbage);
    }
    const connection = await runtime.connection(201);
    await connection.ready;
    assert.equal(await rlimitsOf(connection, { container: { name: 'other' } }), undefined);
  }).timeout(280_000);
});

describe('nabu nri', () => {
  let folder = '';
  let runtime: NriRuntimeDouble;
  let kubelet: PodResourcesDouble;
  let child: ChildProcess | undefined;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nabu-nri-'));
    runtime = new NriRuntimeDouble(join(folder, 'nri.sock'));
    kubelet = new PodResourcesDouble(join(folder, 'pod-resources/kubelet.sock'));
    await kubelet.start();
    await runtime.start();
  });
  afterEach(async () => {
    if (child?.exitCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await runtime.stop();
    await kubelet.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('lets a container with an HCA lock memory, not one that only says so, and ends when told', async () => {
    const proc = join(folder, 'no-proc');
    const flags = ['--socket', runtime.socketPath, '--kubelet-dir', folder, '--proc-root', proc, '--memlock', '65536'];
    child = spawn(NABU, ['nri', ...flags, '--log-level', 'error'], { stdio: ['ignore', 'ignore', 'inherit'] });
    kubelet.containers = [
      { pod: 'holder', devices: { 'nabustore.io/rdma': ['0000:18:00.0-0'] } },
      { pod: 'forger', devices: { 'nvidia.com/gpu': ['GPU-1'] } },
    ];
    const connection = await runtime.plugin();
    const container = {
      name: 'main',
      env: ['NABUSTORE_RDMA_DEVICES=mlx5_0'],
      linux: { devices: [{ path: '/dev/infiniband/uverbs0', type: 'c', major: 231, minor: 192 }] },
    };
    const pod = (name: string): Request => ({ pod: { namespace: 'default', name }, container });
    assert.deepEqual(await rlimitsOf(connection, pod('holder')), [
      { type: 'RLIMIT_MEMLOCK', hard: 65_536n, soft: 65_536n },
    ]);
    assert.equal(await rlimitsOf(connection, pod('forger')), undefined);
    assert.equal(
      await rlimitsOf(connection, { pod: { namespace: 'default', name: 'x' }, container: { name: 'y' } }),
      undefined,
    );
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'exit'), [0, null]);
    assert.equal(connection.isOpen, false);
  });

  it('refuses an index that NRI would refuse', async () => {
    child = spawn(NABU, ['nri', '--socket', runtime.socketPath, '--index', '7'], { stdio: 'ignore' });
    assert.deepEqual(await once(child, 'exit'), [64, null]);
  });
});
