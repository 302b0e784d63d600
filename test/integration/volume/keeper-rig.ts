import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { realClock } from '../../../common/ports/index.ts';
import { KeeperClient } from '../../../engine/volume/keeper-client.ts';

export const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
export const KEEPER = join(ROOT, 'build/native/volume/nabu-keeper');
const SERVER = join(ROOT, 'test/integration/volume/folder-server.ts');
export const VOLUME_ID = 'abcdef00112233445566778899aabbcc';
export const MIB = 1024 * 1024;

export async function waitFor<T>(what: string, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const end = Date.now() + 20_000;
  while (Date.now() < end) {
    const seen = await look();
    if (seen !== undefined) return seen;
    await realClock.sleep(5);
  }
  throw new Error(`waited in vain for ${what}`);
}

/** Keeper, server, loop device and ext4 mount, and their end. */
export class KeeperRig {
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

  async start(sizeBytes = 256 * MIB, ioTimeoutMs = 0): Promise<string> {
    this.folder = await mkdtemp(join(tmpdir(), 'nabu-keeper-'));
    await mkdir(this.mountPath);
    const command = [process.execPath, '--disable-warning=ExperimentalWarning', SERVER];
    const args = ['--socket', this.socket, '--state', this.state, '--server', ...command];
    this.keeper = spawn(KEEPER, [...args, this.socket, this.folder, VOLUME_ID, `${sizeBytes}`, `${ioTimeoutMs}`], {
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
      // What comes after the last line's end is a line that is being written: it is there, and empty, for a moment.
      const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
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
