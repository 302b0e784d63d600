import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { skip } from '../../support/skip.ts';
import { TestCluster } from '../cluster.ts';

const MIB = 1 << 20;

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function run(command: string, ...args: string[]): Promise<void> {
  await promisify(execFile)(command, args, { timeout: 60_000 });
}

async function dropCaches(): Promise<void> {
  await writeFile('/proc/sys/vm/drop_caches', '3');
}

describe('a mounted volume on storage nodes that die', function () {
  this.timeout(180_000);
  let cluster: TestCluster;
  let mountPath = '';
  let volumeId = '';

  before(async function () {
    const missing = await TestCluster.missing();
    if (missing !== '') skip(this, missing);
    cluster = await TestCluster.start({ deviceSizeBytes: 512 * MIB });
    const { id, device } = await cluster.openVolume({ name: 'ext4', sizeBytes: 512 * MIB });
    volumeId = id;
    mountPath = join(cluster.dir, 'mnt');
    await mkdir(mountPath);
    await run('mkfs.ext4', '-q', '-F', device);
    await run('mount', device, mountPath);
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(await cluster.logs());
  });

  after(async () => {
    await cluster?.close();
  });

  /** Durable when it resolves. */
  const put = async (name: string, bytes: Uint8Array): Promise<void> => {
    const file = await open(join(mountPath, name), 'w');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  };

  it('reads and writes with any two of six nodes dead, and gives every byte back', async () => {
    const before = randomBytes(24 * MIB);
    await put('before', before);
    await cluster.killNode('node-2');
    await cluster.killNode('node-5');
    await dropCaches();
    assert.equal(sha256(await readFile(join(mountPath, 'before'))), sha256(before));
    const during = randomBytes(8 * MIB);
    await put('during', during);
    await cluster.startNode('node-2');
    await cluster.killNode('node-1');
    await dropCaches();
    assert.equal(sha256(await readFile(join(mountPath, 'during'))), sha256(during));
    await cluster.startNode('node-1');
    await cluster.startNode('node-5');
  });

  it('loses nothing and shows no error when its server is killed under a writer that verifies', async () => {
    const written = new Map<string, string>();
    let stop = false;
    const writer = (async () => {
      for (let n = 0; !stop; n++) {
        const bytes = randomBytes(64 * 1024 + (n % 7) * 4096);
        const name = `w${n % 40}`;
        await put(name, bytes);
        written.set(name, sha256(bytes));
      }
    })();
    for (let kill = 0; kill < 10; kill++) {
      const before = written.size;
      await cluster.killServer();
      await cluster.serverReady(volumeId);
      assert.ok(written.size >= before);
    }
    stop = true;
    await writer;
    await dropCaches();
    for (const [name, hash] of written) assert.equal(sha256(await readFile(join(mountPath, name))), hash, name);
    const mounts = await readFile('/proc/self/mounts', 'utf8');
    assert.match(mounts, new RegExp(`${mountPath} ext4 rw`), 'the file system has not turned read-only');
  });

  it('loses nothing when storage nodes are killed and started again under a writer', async () => {
    const written = new Map<string, string>();
    let stop = false;
    const writer = (async () => {
      for (let n = 0; !stop; n++) {
        const bytes = randomBytes(256 * 1024);
        await put(`n${n % 20}`, bytes);
        written.set(`n${n % 20}`, sha256(bytes));
      }
    })();
    for (const node of [...cluster.nodes, ...cluster.nodes]) {
      await cluster.killNode(node);
      await cluster.startNode(node);
    }
    stop = true;
    await writer;
    await dropCaches();
    for (const [name, hash] of written) assert.equal(sha256(await readFile(join(mountPath, name))), hash, name);
  });

  it('waits, visibly, while four of six nodes are dead, and goes on without a remount when they are back', async () => {
    const dead = cluster.nodes.slice(0, 4);
    for (const node of dead) await cluster.killNode(node);
    let done = false;
    const bytes = randomBytes(MIB);
    const write = put('waited', bytes).then(() => {
      done = true;
    });
    for (;;) {
      const { state, waitingOn } = await cluster.volume(volumeId);
      if (state === 'waiting' && waitingOn.some(({ nodes }) => nodes.length > 0)) break;
    }
    assert.equal(done, false);
    for (const node of dead) await cluster.startNode(node);
    await write;
    await dropCaches();
    assert.equal(sha256(await readFile(join(mountPath, 'waited'))), sha256(bytes));
  });

  it('opens without control, and with it closes and opens again from its checkpoint', async () => {
    await cluster.killControl();
    await cluster.killServer();
    await cluster.serverReady(volumeId);
    const bytes = randomBytes(MIB);
    await put('without-control', bytes);
    await cluster.startControl();
    await run('umount', mountPath);
    await cluster.closeVolume(volumeId);
    const { device } = await cluster.reopenVolume(volumeId);
    assert.notEqual((await cluster.volume(volumeId)).checkpointSequence, 0n);
    await run('mount', device, mountPath);
    assert.equal(sha256(await readFile(join(mountPath, 'without-control'))), sha256(bytes));
  });

  it('cannot be opened while three nodes are dead, and says which ones it needs', async () => {
    await run('umount', mountPath);
    await cluster.closeVolume(volumeId);
    const dead = cluster.nodes.slice(2, 5);
    for (const node of dead) await cluster.killNode(node);
    const volume = await cluster.control.getVolume(volumeId, { timeoutMs: 5000 });
    const generation = volume.attachment?.generation ?? 0n;
    await assert.rejects(
      cluster.host.openVolume({ volumeId, generation }, { timeoutMs: 4000 }),
      (err: { code?: string; fields?: { nodes?: string[] } }) => {
        assert.equal(err.code, 'VOLUME_OPEN_BLOCKED');
        assert.deepEqual([...(err.fields?.nodes ?? [])].sort(), dead);
        return true;
      },
    );
    for (const node of dead) await cluster.startNode(node);
    const { device } = await cluster.reopenVolume(volumeId);
    await run('mount', device, mountPath);
  });
});
