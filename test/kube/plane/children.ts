import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Hopeless } from '../host/until.ts';

const STOP_MS = 10_000;
const TAIL_CHARS = 2000;

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;

/** Processes of one test, each with a log of its own; they end with it. */
export class Children {
  readonly #logs: string;
  readonly #running = new Map<string, ChildProcess>();

  constructor(logs: string) {
    this.#logs = logs;
    mkdirSync(logs, { recursive: true });
  }

  get names(): readonly string[] {
    return [...this.#running.keys()];
  }

  start(name: string, program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    const log = openSync(this.logFile(name), 'a');
    const child = spawn(program, args, { stdio: ['ignore', log, log], env: { ...process.env, ...env } });
    closeSync(log);
    this.#running.set(name, child);
    return child;
  }

  has(name: string): boolean {
    const child = this.#running.get(name);
    return child !== undefined && !hasEnded(child);
  }

  /** One that gets SIGSTOP goes on from where it was at SIGCONT. */
  signal(name: string, signal: NodeJS.Signals): void {
    this.#running.get(name)?.kill(signal);
  }

  pid(name: string): number | undefined {
    return this.#running.get(name)?.pid;
  }

  /** Throws Hopeless, with the end of its log, where it has ended. */
  refuseDead(name: string): void {
    if (!this.has(name)) throw new Hopeless(`${name} has ended. Its log:\n${this.log(name)}`);
  }

  async stop(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#running.get(name);
    this.#running.delete(name);
    if (child === undefined || hasEnded(child)) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    child.kill('SIGCONT'); // one that is held would not hear of it
    const last = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await gone;
    clearTimeout(last);
  }

  /** The last started first. */
  async stopAll(): Promise<void> {
    for (const name of this.names.toReversed()) await this.stop(name);
  }

  logFile(name: string): string {
    return join(this.#logs, `${name}.log`);
  }

  /** The end of what it has said. */
  log(name: string): string {
    return readFileSync(this.logFile(name), 'utf8').slice(-TAIL_CHARS);
  }
}
