import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ClusterStatus } from '../../../cli/cluster-status.ts';

const NABU = fileURLToPath(new URL('../../../nabu', import.meta.url));
const COMMAND_TIMEOUT_MS = 240_000;

export type Ended = { readonly exitCode: number | null; readonly stdout: string; readonly stderr: string };

/** One cluster in a folder of its own, driven by the command line alone, as a person would. */
export class CommandLineCluster {
  readonly dir: string;

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async make(): Promise<CommandLineCluster> {
    return new CommandLineCluster(await mkdtemp(join(tmpdir(), 'nabu-cli-')));
  }

  /** Runs `nabu ARGS --dir DIR` to its end, whatever that is. */
  run(...args: string[]): Promise<Ended> {
    return new Promise((resolve, reject) => {
      const child = spawn(NABU, [...args, '--dir', this.dir], { stdio: ['ignore', 'pipe', 'pipe'] });
      const timer = setTimeout(() => child.kill('SIGKILL'), COMMAND_TIMEOUT_MS);
      let stdout = '';
      let stderr = '';
      child.stdout.on('data', (chunk: Buffer) => {
        stdout += chunk.toString();
      });
      child.stderr.on('data', (chunk: Buffer) => {
        stderr += chunk.toString();
      });
      child.once('error', reject);
      child.once('close', (exitCode) => {
        clearTimeout(timer);
        resolve({ exitCode, stdout, stderr });
      });
    });
  }

  /** The same for a command that must succeed; its JSON. */
  async json<T>(...args: string[]): Promise<T> {
    const { exitCode, stdout, stderr } = await this.run(...args, '--json');
    if (exitCode !== 0) throw new Error(`nabu ${args.join(' ')}: exit ${exitCode}\n${stdout}\n${stderr}`);
    return JSON.parse(stdout) as T;
  }

  up(...args: string[]): Promise<ClusterStatus> {
    return this.json<ClusterStatus>('up', '--detach', '--device-size', '1Gi', '--volume-size', '512Mi', ...args);
  }

  status(): Promise<ClusterStatus> {
    return this.json<ClusterStatus>('status');
  }

  get mountPath(): string {
    return join(this.dir, 'mnt', 'demo');
  }

  /** Processes whose command line names the folder. */
  async processes(): Promise<number[]> {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
    const own: number[] = [];
    for (const pid of pids) {
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (pid !== process.pid && command.split('\0').some((part) => part.startsWith(this.dir))) own.push(pid);
    }
    return own;
  }

  async mounts(): Promise<string[]> {
    const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
    return lines.filter((line) => line.includes(this.dir));
  }

  /** Loop devices whose backing file lies in the folder (loop driver, /sys/block/loopN/loop/backing_file). */
  async loopDevices(): Promise<string[]> {
    const found: string[] = [];
    for (const name of (await readdir('/sys/block')).filter((one) => one.startsWith('loop'))) {
      const backing = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
      if (backing.startsWith(this.dir)) found.push(name);
    }
    return found;
  }

  async remove(): Promise<void> {
    await this.run('down');
    await rm(this.dir, { recursive: true, force: true });
  }
}

export async function dropCaches(): Promise<void> {
  await writeFile('/proc/sys/vm/drop_caches', '3');
}

export async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
