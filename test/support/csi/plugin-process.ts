import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NABU = fileURLToPath(new URL('../../../nabu', import.meta.url));

/** `nabu csi` as a process of its own, to be killed and started again. Its log is appended to `csi.log` in its folder. */
export class PluginProcess {
  readonly #args: readonly string[];
  readonly #logPath: string;
  #child: ChildProcess | undefined;

  constructor(folder: string, nodeName: string, extra: readonly string[] = []) {
    this.#args = ['csi', '--dir', folder, '--node-id', nodeName, '--pool-size', '1', ...extra];
    this.#logPath = join(folder, 'csi.log');
  }

  start(): void {
    const child = spawn(NABU, this.#args, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.pipe(createWriteStream(this.#logPath, { flags: 'a' }));
    this.#child = child;
  }

  /** Resolves when the process is gone. */
  async kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}
