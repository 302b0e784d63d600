import { spawn } from 'node:child_process';
import { mkdir, open, readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Deadline } from '../common/concurrency/index.ts';
import { NabuError } from '../common/errors/index.ts';
import { identifyProcess, isAlive, PidFile, type ProcessIdentity, readPidFile } from '../common/fs/index.ts';
import type { Layout } from '../common/layout/index.ts';
import type { Clock } from '../common/ports/index.ts';

const NABU = fileURLToPath(new URL('../nabu', import.meta.url));
const POLL_MS = 20;
const PID_SUFFIX = '.pid';

/**
 * The long-running processes of one machine, each known by a name and a pid file in `DIR/run`. They outlive the command that
 * starts them; their output goes to `DIR/log/NAME.log`.
 */
export class DetachedProcesses {
  readonly #layout: Layout;
  readonly #clock: Clock;

  constructor(layout: Layout, clock: Clock) {
    this.#layout = layout;
    this.#clock = clock;
  }

  running(name: string): Promise<ProcessIdentity | undefined> {
    return readPidFile(this.#layout.pidFile(name));
  }

  /** Names that have a pid file, of a living process or not. */
  async names(): Promise<string[]> {
    const files = await readdir(this.#layout.run).catch(() => []);
    return files.filter((file) => file.endsWith(PID_SUFFIX)).map((file) => file.slice(0, -PID_SUFFIX.length));
  }

  /** Starts `nabu ARGS` unless NAME runs already. Returns who it is, and whether it was started now. */
  async start(name: string, args: readonly string[]): Promise<{ identity: ProcessIdentity; started: boolean }> {
    const present = await this.running(name);
    if (present !== undefined) return { identity: present, started: false };
    const logPath = this.#layout.logFile(name);
    await mkdir(dirname(logPath), { recursive: true, mode: 0o700 });
    const log = await open(logPath, 'a', 0o600);
    try {
      const child = spawn(NABU, args, { detached: true, stdio: ['ignore', log.fd, log.fd] });
      const spawned = new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', (cause) =>
          reject(
            NabuError.of(
              'COMMAND_FAILED',
              { command: `nabu ${args[0] ?? ''}`, reason: 'it cannot be started' },
              { cause },
            ),
          ),
        );
      });
      await spawned;
      child.unref();
      const { identity } = await PidFile.acquire(this.#layout.pidFile(name), child.pid);
      return { identity, started: true };
    } finally {
      await log.close();
    }
  }

  /** Ends NAME with `signal` and waits until it is gone. False when it did not run. TIMEOUT when it does not go. */
  async stop(name: string, signal: 'SIGTERM' | 'SIGKILL', deadline: Deadline): Promise<boolean> {
    const identity = await this.running(name);
    if (identity === undefined) return false;
    try {
      process.kill(identity.pid, signal);
    } catch (err) {
      if (Reflect.get(Object(err), 'code') !== 'ESRCH') throw err;
    }
    await this.waitUntil(async () => !(await isAlive(identity)), deadline);
    return true;
  }

  /** Waits for the end of a process that has no pid file here. */
  async waitUntilGone(pid: number, deadline: Deadline): Promise<void> {
    await this.waitUntil(async () => (await identifyProcess(pid)) === undefined, deadline);
  }

  /** Asks again until the answer is yes. Throws what ends the deadline. */
  async waitUntil(condition: () => Promise<boolean>, deadline: Deadline): Promise<void> {
    while (!(await condition())) await this.#clock.sleep(POLL_MS, deadline.signal);
  }
}
