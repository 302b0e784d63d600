import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Logger } from '../../../common/logging/index.ts';
import { silentLogger } from '../../../common/logging/index.ts';
import { type Random, realClock, SeededRandom } from '../../../common/ports/index.ts';
import { KubeletPlugin } from '../../../device-plugin/kubelet/index.ts';
import { eventually, KubeletDouble } from '../../support/kubelet-double.ts';
import { MemoryPool } from '../../support/memory-pool.ts';

/** After whatever the kubelet did, the advertised set is right within this. */
const BOUND_MS = 2000;
const SEED = Number(process.env.NABU_SEED ?? 20_261_121);

function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

function below(random: Random, limit: number): number {
  return random.uint32() % limit;
}

describe('the device plugin and a kubelet that does not stay', function () {
  this.timeout(240_000);
  let root: string;
  let kubelet: KubeletDouble;
  let plugin: KubeletPlugin;
  let pools: MemoryPool[];
  let warnings: string[];

  const recording: Logger = {
    ...silentLogger,
    warn: (message, fields) => void warnings.push(`${message}: ${String(fields?.error)}`),
    error: (message, fields) => void warnings.push(`ERROR ${message}: ${String(fields?.error)}`),
    child: () => recording,
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'nabu-kubelet-'));
    kubelet = new KubeletDouble(join(root, 'device-plugins'));
    warnings = [];
    plugin = new KubeletPlugin({
      folder: kubelet.folder,
      clock: realClock,
      random: new SeededRandom(SEED),
      logger: recording,
    });
    pools = [new MemoryPool('nabustore.io/rdma', 16), new MemoryPool('nabustore.io/cufile', 4)];
    await kubelet.start();
    await plugin.start();
  });

  afterEach(async () => {
    await plugin.close();
    await kubelet.stop();
    await rm(root, { recursive: true, force: true });
  });

  async function untilRight(): Promise<void> {
    for (const pool of pools) await kubelet.untilAdvertised(pool.resource, () => pool.expected, BOUND_MS);
  }

  async function serve(): Promise<void> {
    for (const pool of pools) plugin.serve(pool);
    await untilRight();
  }

  const streams = (): number[] => pools.map(({ resource }) => plugin.state(resource)?.streams ?? -1);
  const sockets = (): string[] => readdirSync(kubelet.folder).filter((name) => name.endsWith('.sock'));

  /** Each is something that a kubelet, or whoever owns its folder, does; the plugin must be right again after it. */
  const mishaps: Record<string, (random: Random) => Promise<void>> = {
    restarts: () => kubelet.restart(),
    'is killed and started again': () => kubelet.restart({}, { isKilled: true }),
    'is away for a while': async (random) => {
      await kubelet.stop({ isKilled: below(random, 2) === 0 });
      await eventually('streams end', () => streams().every((count) => count === 0), BOUND_MS, streams);
      await realClock.sleep(below(random, 200)); // the length of the absence is the test's own
      await kubelet.start();
    },
    'answers late': (random) => kubelet.restart({ dialAfterMs: below(random, 400), answerAfterMs: below(random, 400) }),
    'refuses at first': (random) => kubelet.restart({ refusals: 1 + below(random, 3) }),
    'hangs and is restarted': async () => {
      await kubelet.restart({ hangs: true });
      const from = kubelet.events.length;
      const asked = (): boolean => kubelet.events.slice(from).some(({ kind }) => kind === 'register');
      await eventually('a registration hangs', asked, BOUND_MS);
      await kubelet.restart();
    },
    'is restarted in the middle of a registration': async (random) => {
      await kubelet.restart({ answerAfterMs: 1000 });
      await realClock.sleep(below(random, 60)); // anywhere in it
      await kubelet.restart();
    },
    'wipes the sockets of its plugins': async () => {
      kubelet.wipe(['kubelet.sock']);
      await eventually('sockets are made anew', () => sockets().length === pools.length + 1, BOUND_MS, sockets);
    },
    'wipes its folder and restarts': async () => {
      kubelet.wipe();
      await kubelet.restart();
    },
    'gets a new folder': async (random) => {
      await kubelet.stop();
      await rename(kubelet.folder, join(root, `old-${random.uint32()}`));
      await kubelet.start();
    },
    'breaks off the streams': async () => {
      for (const { resource } of pools) await kubelet.breakOff(resource);
    },
  };

  it(`is right within ${BOUND_MS} ms after each of 100 mishaps, with nothing left behind (seed ${SEED})`, async () => {
    const random = new SeededRandom(SEED);
    const names = Object.keys(mishaps);
    await serve();
    const happened = new Map<string, number>();
    const undergo = async (name: string): Promise<void> => {
      happened.set(name, (happened.get(name) ?? 0) + 1);
      await mishaps[name]?.(random);
      const pool = pools[below(random, pools.length)];
      pool?.setHealthy(`dev-${below(random, 4)}`, below(random, 2) === 0);
      try {
        await untilRight();
      } catch (err) {
        throw new Error(`after the kubelet ${name}; ${warnings.slice(-5).join(' | ')}`, { cause: err });
      }
    };
    for (const name of names) await undergo(name); // libraries open what they keep
    await kubelet.restart();
    await untilRight();
    const before = descriptors();
    for (let at = 0; at < 100; at++) await undergo(names[below(random, names.length)] ?? '');
    assert.equal(happened.size, names.length, 'each mishap happened');

    await kubelet.restart();
    await untilRight();
    await eventually('one stream for each resource', () => streams().every((count) => count === 1), BOUND_MS, streams);
    await eventually(
      'as many descriptors as before',
      () => descriptors() <= before,
      BOUND_MS,
      () => [before, descriptors()],
    );
    assert.deepEqual(readdirSync(kubelet.folder).sort(), [
      'kubelet.sock',
      'nabustore.io_cufile.sock',
      'nabustore.io_rdma.sock',
    ]);
    assert.deepEqual(
      warnings.filter((line) => line.startsWith('ERROR')),
      [],
    );
  });

  it('is right again after 100 plain restarts, each with one registration that holds', async () => {
    await serve();
    for (let at = 0; at < 100; at++) {
      await kubelet.restart();
      await untilRight();
    }
    const accepted = kubelet.events.filter(({ kind }) => kind === 'accepted').length;
    assert.ok(accepted <= 101 * pools.length, `${accepted} registrations were accepted`);
  });

  it('leaves a kubelet that hangs for the one that takes its place', async () => {
    await kubelet.stop();
    await kubelet.start({ hangs: true });
    for (const pool of pools) plugin.serve(pool);
    const asked = (): boolean => kubelet.kinds().filter((kind) => kind === 'register').length === pools.length;
    await eventually('registrations hang', asked, BOUND_MS, () => kubelet.kinds());
    const hanging = kubelet;
    kubelet = new KubeletDouble(hanging.folder);
    try {
      await kubelet.start();
      await untilRight();
    } finally {
      await hanging.stop();
    }
  });

  it('keeps the kubelet advertising when the folder is wiped and no kubelet can be registered with', async () => {
    await serve();
    const lists = pools.map(({ resource }) => kubelet.lists(resource).length);
    kubelet.wipe();
    const own = (): boolean => pools.length === sockets().length;
    await eventually('sockets are made anew', own, BOUND_MS, sockets);
    assert.deepEqual(streams(), [1, 1]);
    pools[0]?.setHealthy('dev-0', false);
    await untilRight();
    assert.deepEqual(
      pools.map(({ resource }) => kubelet.lists(resource).length),
      [(lists[0] ?? 0) + 1, lists[1]],
    );
    assert.ok(!kubelet.kinds().includes('stream-ended'));
  });

  it('waits for a folder and a kubelet that come later, and says so once', async () => {
    await kubelet.stop();
    await rm(kubelet.folder, { recursive: true });
    for (const pool of pools) plugin.serve(pool);
    const [first] = pools;
    assert.ok(first !== undefined);
    const cause = (): string => plugin.state(first.resource)?.cause ?? '';
    await eventually('the folder is missed', () => cause().includes('there is no folder'), BOUND_MS, cause);
    assert.equal(existsSync(kubelet.folder), false);
    await kubelet.start({ refusals: 4 });
    await untilRight();
    assert.equal(plugin.state(first.resource)?.cause, undefined);
    assert.deepEqual(warnings.length, new Set(warnings).size * pools.length, warnings.join('\n'));
    assert.equal(warnings.filter((line) => line.includes('not now')).length, pools.length);
  });

  it('leaves no socket, stream or descriptor when it is closed', async () => {
    await serve();
    await plugin.close();
    const before = descriptors();
    for (let at = 0; at < 20; at++) {
      const again = new KubeletPlugin({
        folder: kubelet.folder,
        clock: realClock,
        random: new SeededRandom(at),
        logger: silentLogger,
      });
      await again.start();
      for (const pool of pools) again.serve(pool);
      await untilRight();
      await again.close();
      await eventually('streams end', () => kubelet.advertised('nabustore.io/rdma')?.[0]?.[0] === '!', BOUND_MS);
    }
    await eventually(
      'as many descriptors as before',
      () => descriptors() <= before,
      BOUND_MS,
      () => [before, descriptors()],
    );
    assert.deepEqual(sockets(), ['kubelet.sock']);
    assert.deepEqual(
      pools.map(({ listeners }) => listeners),
      [0, 0],
    );
  });
});
