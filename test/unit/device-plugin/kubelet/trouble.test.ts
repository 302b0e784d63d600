import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LogFields, type Logger, silentLogger } from '../../../../common/logging/index.ts';
import { realClock, SeededRandom } from '../../../../common/ports/index.ts';
import { deviceId, KubeletPlugin, type KubeletPluginOptions } from '../../../../device-plugin/kubelet/index.ts';
import { eventually, KubeletDouble, type KubeletManners } from '../../../support/kubelet-double.ts';
import { MemoryPool } from '../../../support/memory-pool.ts';

const BOUND_MS = 2000;
const RESOURCE = 'nabustore.io/rdma';
const SOCKET = 'nabustore.io_rdma.sock';

describe('the device plugin in trouble', () => {
  let root: string;
  let kubelet: KubeletDouble;
  let plugins: KubeletPlugin[];
  let pool: MemoryPool;
  let lines: string[];

  const note = (message: string, fields?: LogFields): void => {
    const { error } = fields ?? {};
    lines.push(error instanceof Error ? `${message}: ${error.message}` : message);
  };
  const logger: Logger = { ...silentLogger, info: note, warn: note, error: note, child: () => logger };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'nabu-kubelet-'));
    kubelet = new KubeletDouble(join(root, 'device-plugins'));
    pool = new MemoryPool(RESOURCE, 2);
    plugins = [];
    lines = [];
  });

  afterEach(async () => {
    await Promise.all(plugins.map((plugin) => plugin.close()));
    await kubelet.stop();
    await rm(root, { recursive: true, force: true });
  });

  async function begin(manners: KubeletManners, limits: KubeletPluginOptions['limits'] = {}): Promise<KubeletPlugin> {
    await kubelet.start(manners);
    return await beginPlugin(limits);
  }

  async function beginPlugin(limits: KubeletPluginOptions['limits'] = {}): Promise<KubeletPlugin> {
    const parts = { clock: realClock, random: new SeededRandom(11), logger };
    const plugin = new KubeletPlugin({ folder: kubelet.folder, ...parts, limits });
    plugins.push(plugin);
    await plugin.start();
    plugin.serve(pool);
    return plugin;
  }

  const untilRight = () => kubelet.untilAdvertised(RESOURCE, () => pool.expected, BOUND_MS);
  const count = (kind: string): number => kubelet.kinds().filter((one) => one === kind).length;

  it('registers again with a kubelet that took the registration and forgot it', async () => {
    await begin({ forgets: 2 }, { dialBackMs: 50 });
    await untilRight();
    assert.equal(count('register'), 3);
    assert.deepEqual(lines, [
      'not registered with the kubelet: the kubelet cannot be reached: it took the registration and did not ask for the list',
      'registered with the kubelet',
    ]);
  });

  it('registers again, more and more slowly, with a kubelet that breaks off each stream', async () => {
    const plugin = await begin({ cuts: 4 }, { backoff: { firstMs: 20, mostMs: 100 } });
    await eventually(
      'all are cut',
      () => count('stream-ended') === 4,
      BOUND_MS,
      () => kubelet.kinds(),
    );
    await untilRight();
    assert.equal(count('register'), 5);
    assert.equal(plugin.state(pool.resource)?.streams, 1);
  });

  it('believes the stream, not the answer: a Register that fails while the list is read is none', async () => {
    const plugin = await begin({ answerAfterMs: 1000 }, { registerTimeoutMs: 500 });
    await untilRight();
    await eventually('the kubelet would have answered', () => count('accepted') === 1, BOUND_MS);
    assert.equal(count('register'), 1);
    assert.equal(plugin.state(pool.resource)?.isRegistered, true);
    assert.deepEqual(lines, ['registered with the kubelet']);
  });

  it('says each registration, with a kubelet too that is there before the one before it was missed', async () => {
    await begin({});
    await untilRight();
    const said = (): number => lines.filter((line) => line === 'registered with the kubelet').length;
    for (let restarts = 1; restarts <= 20; restarts++) {
      await kubelet.restart();
      await eventually(
        `${restarts} restarts are said`,
        () => said() === restarts + 1,
        BOUND_MS,
        () => lines,
      );
    }
  });

  it('tries again when a Register times out', async () => {
    const plugin = await begin({ hangs: true }, { registerTimeoutMs: 50 });
    await eventually('it has tried twice', () => count('register') >= 2, BOUND_MS);
    assert.equal(plugin.state(pool.resource)?.isRegistered, false);
    assert.match(plugin.state(pool.resource)?.cause ?? '', /Register did not finish within 50 ms/);
  });

  it('waits for another process that answers on its socket, and follows it', async () => {
    const first = await begin({});
    await untilRight();
    const second = await beginPlugin();
    const cause = (): string => second.state(pool.resource)?.cause ?? '';
    await eventually('it is refused', () => cause().includes('another process answers'), BOUND_MS, cause);
    assert.equal(count('register'), 1);
    await first.close();
    await eventually('it follows', () => second.state(pool.resource)?.isRegistered === true, BOUND_MS, cause);
    await untilRight();
  });

  it('does not remove what is no socket, and goes on when it is gone', async () => {
    await kubelet.start();
    await writeFile(join(kubelet.folder, SOCKET), 'mine');
    const plugin = await beginPlugin();
    const cause = (): string => plugin.state(pool.resource)?.cause ?? '';
    await eventually('it is refused', () => cause().includes('is no socket'), BOUND_MS, cause);
    await rm(join(kubelet.folder, SOCKET));
    await untilRight();
  });

  it('keeps the list before when a pool cannot say its own, and says why', async () => {
    await begin({});
    await untilRight();
    const before = pool.expected;
    const devices = pool.devices.bind(pool);
    pool.devices = () => [...devices(), { id: deviceId('dev-0'), healthy: true, numaNodes: [] }];
    pool.add('dev-2');
    await eventually(
      'it is said',
      () => lines.length === 2,
      BOUND_MS,
      () => lines,
    );
    assert.match(
      lines[1] ?? '',
      /the list before stands: devices of nabustore.io\/rdma: 1 ids are there more than once/,
    );
    assert.deepEqual(kubelet.advertised(RESOURCE), before);
    pool.devices = devices;
    pool.add('dev-3');
    await untilRight();
  });

  it('closes in the middle of anything', async () => {
    const manners: KubeletManners[] = [
      {},
      { hangs: true },
      { refusals: 9 },
      { dialAfterMs: 500 },
      { answerAfterMs: 500 },
    ];
    for (const [at, manner] of manners.entries()) {
      await kubelet.restart(manner);
      const from = count('register');
      const plugin = await beginPlugin();
      if (at > 0) await eventually('it has begun', () => count('register') > from, BOUND_MS);
      await plugin.close();
      assert.equal(pool.listeners, 0);
    }
  });
});
