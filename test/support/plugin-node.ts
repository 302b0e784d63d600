import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, KubeletDouble } from './kubelet-double.ts';
import type { MachineDescription } from './machine-description.ts';
import { MachineTree } from './machine-tree.ts';

const NABU = join(import.meta.dirname, '../../nabu');
const STOP_LIMIT_MS = 10_000;

export type LogLine = { readonly level: string; readonly message: string } & Readonly<Record<string, unknown>>;

/** Whether this user may make device files. */
export function canMakeDevices(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'nabu-mknod-'));
  try {
    execFileSync('mknod', [join(folder, 'null'), 'c', '1', '3'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A recorded machine with real device files, a kubelet double, and `nabu device-plugin` as a process between them. */
export class PluginNode {
  readonly root = mkdtempSync(join(tmpdir(), 'nabu-node-'));
  readonly machine: MachineTree;
  readonly kubelet: KubeletDouble;
  readonly log: LogLine[] = [];
  #process: ChildProcess | undefined;
  #stderr = '';

  constructor(description: MachineDescription) {
    this.machine = new MachineTree(description);
    this.#makeDevices('dev');
    mkdirSync(join(this.root, 'config'));
    this.kubelet = new KubeletDouble(join(this.kubeletDir, 'device-plugins'));
  }

  get kubeletDir(): string {
    return join(this.root, 'kubelet');
  }

  get configPath(): string {
    return join(this.root, 'config', 'resources.yaml');
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Puts a new file in the place of the old one, as editors do. JSON is YAML. */
  configure(config: unknown): void {
    const text = typeof config === 'string' ? config : JSON.stringify({ version: 'v1', ...Object(config) });
    writeFileSync(`${this.configPath}.new`, text);
    renameSync(`${this.configPath}.new`, this.configPath);
  }

  /** Starts the plugin; `flags` beside those that name this node's folders. */
  start(flags: readonly string[] = []): void {
    const { sysfsRoot, devRoot, procRoot } = this.machine.roots;
    const args = [
      'device-plugin',
      ...['--resources', this.configPath, '--kubelet-dir', this.kubeletDir, '--node-name', 'node-1'],
      ...['--sysfs-root', sysfsRoot, '--dev-root', devRoot, '--proc-root', procRoot],
      ...['--state-dir', join(this.root, 'state'), '--cdi-dir', join(this.root, 'cdi'), ...flags],
    ];
    const child = spawn(NABU, args, { stdio: ['ignore', 'inherit', 'pipe'] });
    this.#process = child;
    let rest = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.startsWith('{')) this.log.push(JSON.parse(line));
    });
  }

  /** Waits until a line with this message has been logged, after the first `skip` lines. */
  async logged(message: string, timeoutMs: number, skip = 0): Promise<LogLine> {
    const find = (): LogLine | undefined => this.log.slice(skip).find((line) => line.message === message);
    await eventually(
      `logged: ${message}`,
      () => find() !== undefined,
      timeoutMs,
      () => this.#stderr.slice(-2000),
    );
    return find() ?? { level: '', message: '' };
  }

  /** Resolves with the exit status, or with the signal that ended it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | string | null> {
    const child = this.#process;
    if (child === undefined) return null;
    this.#process = undefined;
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill(signal);
      const late = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
      await exited;
      clearTimeout(late);
    }
    return child.exitCode ?? child.signalCode;
  }

  /** Resolves with the exit status of a plugin that ends by itself. */
  async ended(timeoutMs: number): Promise<number | null> {
    const child = this.#process;
    if (child === undefined) return null;
    await eventually(
      'the plugin ends',
      () => child.exitCode !== null,
      timeoutMs,
      () => this.#stderr.slice(-2000),
    );
    return child.exitCode;
  }

  async close(): Promise<void> {
    await this.stop('SIGKILL');
    await this.kubelet.stop();
    this.machine[Symbol.dispose]();
    rmSync(this.root, { recursive: true, force: true });
  }

  /** The recorded markers ('c 231 192') become the device files that they stand for. */
  #makeDevices(folder: string): void {
    for (const entry of readdirSync(this.machine.at(folder), { withFileTypes: true })) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) this.#makeDevices(path);
      if (entry.isFile()) this.makeDevice(path);
    }
  }

  makeDevice(path: string): void {
    const at = this.machine.at(path);
    const match = /^c (\d+) (\d+)$/.exec(readFileSync(at, 'utf8').trim());
    if (match === null) return;
    rmSync(at);
    execFileSync('mknod', [at, 'c', match[1] ?? '', match[2] ?? '']);
  }
}
