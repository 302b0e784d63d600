import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { NabuError } from '../../../common/errors/index.ts';
import { realClock } from '../../../common/ports/index.ts';
import { KeeperClient } from '../../../engine/volume/keeper-client.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const KEEPER = join(ROOT, 'build/native/volume/nabu-keeper');
const SERVER = join(ROOT, 'test/integration/volume/folder-server.ts');
const VOLUME_ID = 'abcdef00112233445566778899aabbcc';
const MIB = 1024 * 1024;

async function waitFor<T>(what: string, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const end = Date.now() + 20_000;
  while (Date.now() < end) {
    const seen = await look();
    if (seen !== undefined) return seen;
    await realClock.sleep(5);
  }
  throw new Error(`waited in vain for ${what}`);
}

/** Keeper, server, loop device and ext4 mount, and their end. */
class Rig {
  folder = '';
  keeper: ChildProcess | undefined;
  client: KeeperClient | undefined;
  mounted = false;

  get socket(): string {
    return join(this.folder, 'keeper.sock');
  }
  get mountPath(): string {
    return join(this.folder, 'mnt');
  }
  get state(): string {
    return join(this.folder, 'state');
  }

  async start(sizeBytes = 256 * MIB): Promise<string> {
    this.folder = await mkdtemp(join(tmpdir(), 'nabu-keeper-'));
    await mkdir(this.mountPath);
    const command = [process.execPath, '--disable-warning=ExperimentalWarning', SERVER];
    const args = ['--socket', this.socket, '--state', this.state, '--server', ...command];
    this.keeper = spawn(KEEPER, [...args, this.socket, this.folder, VOLUME_ID, String(sizeBytes)], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const device = await this.serverStarted(1);
    this.client = KeeperClient.connect(this.socket, { clock: realClock });
    return device;
  }

  /** Waits for the nth start of the server to be complete; the device. */
  async serverStarted(n: number): Promise<string> {
    return await waitFor(`start ${n} of the server`, () => {
      const path = join(this.folder, 'started');
      const lines = existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
      return lines[n - 1]?.split(' ')[0];
    });
  }

  async killServer(): Promise<void> {
    const before = await this.client?.ping();
    if (before === undefined || before.serverPid === 0) throw new Error('no server runs');
    process.kill(before.serverPid, 'SIGKILL');
  }

  async mount(device: string): Promise<void> {
    await run('mount', [device, this.mountPath]);
    this.mounted = true;
  }

  async unmount(): Promise<void> {
    await run('umount', [this.mountPath]);
    this.mounted = false;
  }

  async stop(): Promise<void> {
    const alive = this.keeper?.exitCode === null && this.keeper.signalCode === null;
    const exited = this.keeper && alive ? once(this.keeper, 'exit') : undefined;
    try {
      if (this.mounted) await run('umount', ['-l', this.mountPath]);
      if (exited !== undefined) await this.client?.shutdown({ force: true });
    } finally {
      this.client?.close();
      if (exited !== undefined) {
        const timer = realClock.setTimer(() => this.keeper?.kill('SIGKILL'), 15_000);
        await exited;
        timer.cancel();
      }
      await run(KEEPER, ['--cleanup', this.state]);
      await rm(this.folder, { recursive: true, force: true });
    }
  }
}

describe('keeper and native volume', function () {
  this.timeout(120_000);
  let rig: Rig;
  beforeEach(() => {
    rig = new Rig();
  });
  afterEach(() => rig.stop());

  it('keeps a mounted ext4 whole through kills of its server', async () => {
    const device = await rig.start();
    await run('mkfs.ext4', ['-q', '-F', device]);
    await rig.mount(device);
    const hashes = new Map<string, string>();
    const kills = 6;
    for (let round = 1; round <= kills; round++) {
      const path = join(rig.mountPath, `file-${round}`);
      const content = randomBytes(3 * MIB + round * 1111);
      hashes.set(path, createHash('sha256').update(content).digest('hex'));
      const fd = openSync(path, 'w');
      writeSync(fd, content, 0, MIB);
      await rig.killServer();
      const rest = writeFile(`${path}.more`, content);
      writeSync(fd, content, MIB);
      fsyncSync(fd);
      closeSync(fd);
      await rest;
      hashes.set(`${path}.more`, createHash('sha256').update(content).digest('hex'));
      await rig.serverStarted(round + 1);
    }
    await rig.unmount();
    await run('e2fsck', ['-fn', device]);
    await rig.mount(device);
    for (const [path, hash] of hashes) {
      assert.equal(createHash('sha256').update(readFileSync(path)).digest('hex'), hash, path);
    }
    await rig.unmount();
    const status = await rig.client?.ping();
    assert.equal(status?.serverStarts, kills + 1);
  });

  it('refuses to end or to let go of a volume that is in use, and leaves nothing when it ends', async () => {
    const device = await rig.start();
    await run('mkfs.ext4', ['-q', '-F', device]);
    await rig.mount(device);
    const client = rig.client;
    assert.ok(client);
    const refused = (err: unknown): boolean => NabuError.is(err, 'KEEPER_REFUSED');
    await assert.rejects(client.shutdown({ force: false }), refused);
    await assert.rejects(client.remove(VOLUME_ID, { force: false, timeoutMs: 10_000 }), refused);
    rig.keeper?.kill('SIGTERM');
    await writeFile(join(rig.mountPath, 'still'), 'works');
    await rig.unmount();
    await client.remove(VOLUME_ID, { force: false, timeoutMs: 10_000 });
    assert.deepEqual(await client.list(), []);
    const mounts = readFileSync('/proc/self/mounts', 'utf8');
    assert.ok(!mounts.includes(rig.folder));
  });

  it('gives its mounts and devices back by --cleanup when the keeper is killed', async () => {
    const device = await rig.start();
    const keeper = rig.keeper;
    assert.ok(keeper);
    const exited = once(keeper, 'exit');
    const server = (await rig.client?.ping())?.serverPid ?? 0;
    keeper.kill('SIGKILL');
    await exited;
    // Only the keeper is gone: the device goes on.
    await run('dd', [`if=${device}`, 'of=/dev/null', 'bs=4096', 'count=1', 'iflag=direct']);
    await run(KEEPER, ['--cleanup', rig.state]);
    await waitFor('the end of the server', () => {
      try {
        return readFileSync(`/proc/${server}/stat`, 'utf8').includes(') Z ') ? true : undefined;
      } catch {
        return true;
      }
    });
    assert.ok(!existsSync(`/sys/block/${device.slice('/dev/'.length)}/loop/backing_file`));
    assert.ok(!readFileSync('/proc/self/mounts', 'utf8').includes(rig.folder));
  });
});
