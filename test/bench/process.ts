import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Missing } from './provider.ts';
import type { Scope } from './scope.ts';

export const ROOT = join(import.meta.dirname, '../..');

const CLOCK_TICKS_PER_SECOND = 100; // USER_HZ, the same on every Linux of the architectures we build for
const STOP_TIMEOUT_MS = 20_000;
const ERROR_TAIL_BYTES = 4_096;

/** A program of the native build. Throws Missing when it was not built. */
export function nativeProgram(path: string): string {
  const program = join(ROOT, 'build/native', path);
  if (!existsSync(program)) throw new Missing(`build/native/${path} is not built: make build`);
  return program;
}

/** A child that answers one line on standard output for each line on standard input. */
export class Child {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #name: string;
  #errors = '';

  private constructor(name: string, child: ChildProcessWithoutNullStreams) {
    this.#name = name;
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    child.stderr.on('data', (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-ERROR_TAIL_BYTES);
    });
    child.stdin.on('error', () => undefined); // a child that died is told of by the missing answer
  }

  /** Ends with the scope: by the end of its input, then SIGTERM, then SIGKILL. */
  static async start(
    scope: Scope,
    command: readonly [string, ...string[]],
    env: NodeJS.ProcessEnv = {},
  ): Promise<Child> {
    const [program, ...args] = command;
    const spawned = spawn(program, args, { stdio: 'pipe', cwd: ROOT, env: { ...process.env, ...env } });
    const child = new Child(args[0] === undefined ? program : `${program} ${args[0]}`, spawned);
    scope.defer(program, () => child.stop());
    await once(spawned, 'spawn');
    return child;
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.#name} has no process id`);
    return this.#child.pid;
  }

  /** The next line that it prints. */
  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`${this.#name} ended: ${this.#errors.trim() || 'without a word'}`);
    return value;
  }

  async ask(line: string): Promise<string> {
    this.#child.stdin.write(`${line}\n`);
    return await this.line();
  }

  throwIfEnded(): void {
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null) return;
    throw new Error(`${this.#name} ended with ${exitCode ?? signalCode}: ${this.#errors.trim() || 'without a word'}`);
  }

  /** CPU seconds of user and system time so far. */
  cpuSeconds(): number {
    return cpuSecondsOf(this.pid);
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.stdin.end();
    child.kill('SIGTERM');
    const last = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await gone;
    clearTimeout(last);
  }
}

/** CPU seconds of user and system time of a living process, all its threads (proc(5), stat fields 14 and 15). */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

/** Runs a program to its end; its standard output. Its death or a bad status is an error with what it said. */
export async function output(
  scope: Scope,
  command: readonly [string, ...string[]],
  env: NodeJS.ProcessEnv = {},
): Promise<string> {
  const [program, ...args] = command;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: ROOT, env: { ...process.env, ...env } });
  scope.defer(program, () => child.exitCode === null && child.signalCode === null && child.kill('SIGKILL'));
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-ERROR_TAIL_BYTES);
  });
  const status = await new Promise<string>((resolve, reject) => {
    child.once('error', (err) =>
      reject(Reflect.get(err, 'code') === 'ENOENT' ? new Missing(`${program} is not installed`) : err),
    );
    child.once('close', (code, signal) => resolve(String(code ?? signal)));
  });
  if (status !== '0')
    throw new Error(`${program} ${args.join(' ')} ended with ${status}: ${stderr.trim() || stdout.trim()}`);
  return stdout;
}
