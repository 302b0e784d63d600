import { spawn } from 'node:child_process';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { atomicWriteJson, identifyProcess, isAlive, readPidFile } from '../../../common/fs/index.ts';
import type { Cgroup } from '../host/cgroups.ts';
import { Hopeless, until } from '../host/until.ts';
import type { ClusterLayout } from './layout.ts';

const TAIL_LINES = 30;
const END_MS = 30_000;

/**
 * The processes of a cluster, each known by a name. They belong to its control group, not to the process that starts them:
 * another one can stop and start them as well.
 */
export class Components {
  readonly #layout: ClusterLayout;
  readonly #cgroup: Cgroup;

  constructor(layout: ClusterLayout, cgroup: Cgroup) {
    this.#layout = layout;
    this.#cgroup = cgroup;
  }

  logFile(name: string): string {
    return join(this.#layout.logs, `${name}.log`);
  }

  #pidFile(name: string): string {
    return join(this.#layout.pids, `${name}.pid`);
  }

  async start(name: string, program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
    await Promise.all([this.#layout.logs, this.#layout.pids].map((folder) => mkdir(folder, { recursive: true })));
    const log = await open(this.logFile(name), 'a', 0o600);
    try {
      const [file, words] = this.#cgroup.command(program, args);
      // A session of its own: a signal to the test's process group is not one to the cluster.
      const child = spawn(file, words, {
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
        env: { ...process.env, ...env },
        cwd: this.#layout.folder,
      });
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', reject);
      });
      child.unref();
      const identity = await identifyProcess(child.pid ?? 0);
      if (identity === undefined) throw new Error(await this.#obituary(name));
      await atomicWriteJson(this.#pidFile(name), identity);
    } finally {
      await log.close();
    }
  }

  /** Resolves when it is gone. Does nothing where it does not run. */
  async stop(name: string, signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const identity = await readPidFile(this.#pidFile(name));
    if (identity === undefined) return;
    process.kill(identity.pid, signal);
    await until(`the end of ${name}`, END_MS, async () => ((await isAlive(identity)) ? undefined : true));
    await rm(this.#pidFile(name), { force: true });
  }

  /** Throws Hopeless, with the end of its log, where it has ended. */
  async refuseDead(name: string): Promise<void> {
    if ((await readPidFile(this.#pidFile(name))) === undefined) throw new Hopeless(await this.#obituary(name));
  }

  async #obituary(name: string): Promise<string> {
    return `${name} has ended. Its log:\n${await this.tail(name)}`;
  }

  async tail(name: string): Promise<string> {
    const text = await readFile(this.logFile(name), 'utf8').catch(() => '');
    return text.split('\n').slice(-TAIL_LINES).join('\n');
  }
}
