import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { layoutOf } from '../../../common/layout/index.ts';
import { ControlClient } from '../../../engine/control/index.ts';

const NABU = fileURLToPath(new URL('../../../nabu', import.meta.url));
const START_TIMEOUT_MS = 60_000;

/** `nabu control` as a process of its own, to be killed and started again on the same folder. */
export class ControlProcess {
  readonly dir: string;
  readonly client: ControlClient;
  #child: ChildProcess | undefined;

  private constructor(dir: string) {
    this.dir = dir;
    this.client = new ControlClient({ kind: 'unix', path: layoutOf(dir).controlSocket });
  }

  static async start(): Promise<ControlProcess> {
    const control = new ControlProcess(await mkdtemp(join(tmpdir(), 'nabu-ctl-')));
    await control.start();
    return control;
  }

  async start(): Promise<void> {
    this.#child = spawn(NABU, ['control', '--dir', this.dir, '--log-level', 'warn'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    await this.client.waitForReady(START_TIMEOUT_MS);
  }

  /** SIGTERM ends it in order; returns its exit code. */
  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
    return child.exitCode;
  }

  /** Starts another one on the same folder and waits for its end. */
  async exitCodeOfSecond(): Promise<number | null> {
    const child = spawn(NABU, ['control', '--dir', this.dir], { stdio: 'ignore' });
    await once(child, 'exit');
    return child.exitCode;
  }

  async close(): Promise<void> {
    this.client.close();
    await this.stop('SIGKILL');
    await rm(this.dir, { recursive: true, force: true });
  }
}
