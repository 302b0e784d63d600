import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { programsFolder } from '../programs/programs.ts';

const STOP_MS = 10_000;
const LOG_END_CHARS = 2000;

/** A kube-scheduler with a configuration of its own, beside others. */
export class KubeScheduler {
  readonly #child: ChildProcess;
  readonly #log: string;

  private constructor(child: ChildProcess, log: string) {
    this.#child = child;
    this.#log = log;
  }

  /** `folder` takes the file and the log, both called by `name`. */
  static async start(folder: string, name: string, configuration: object): Promise<KubeScheduler> {
    const path = join(folder, `${name}.json`);
    writeFileSync(path, JSON.stringify(configuration));
    const logPath = join(folder, `${name}.log`);
    const log = openSync(logPath, 'a');
    const program = join(await programsFolder(), 'kube-scheduler');
    const child = spawn(program, [`--config=${path}`, '--secure-port=0'], { stdio: ['ignore', log, log] });
    closeSync(log);
    return new KubeScheduler(child, logPath);
  }

  /** Whether it still runs; a configuration that is wrong ends it at once. */
  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** The end of what it has said. */
  log(): string {
    return readFileSync(this.#log, 'utf8').slice(-LOG_END_CHARS);
  }

  async stop(): Promise<void> {
    if (!this.isRunning) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const last = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    await gone;
    clearTimeout(last);
  }
}
