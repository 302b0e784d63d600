import { spawn } from 'node:child_process';
import type { Deadline } from '../concurrency/index.ts';
import { NabuError } from '../errors/index.ts';
import type { Logger } from '../logging/index.ts';

export type CommandOptions = {
  readonly deadline: Deadline;
  readonly logger: Logger;
  /** Exit statuses that are answers rather than failures (blkid: 2 is "nothing there"). 0 always is. */
  readonly okExitCodes?: readonly number[];
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  /** Each of stdout and stderr is cut there. */
  readonly maxOutputBytes?: number;
};

export type CommandResult = { readonly exitCode: number; readonly stdout: string; readonly stderr: string };

const DEFAULT_OUTPUT_BYTES = 1 << 20;

class BoundedText {
  readonly #limitBytes: number;
  readonly #chunks: Buffer[] = [];
  #sizeBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Goes on reading past the limit, so that the child never blocks on a full pipe. */
  add(chunk: Buffer): void {
    const room = this.#limitBytes - this.#sizeBytes;
    if (room <= 0) return;
    this.#chunks.push(chunk.subarray(0, room));
    this.#sizeBytes += Math.min(room, chunk.length);
  }

  toString(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}

/**
 * Runs a program without a shell. Throws DRIVER_UNAVAILABLE when it is not installed, the deadline's error when that
 * passes (the child and its children are killed), COMMAND_FAILED for any other ending. What the child wrote goes to the
 * log; the error names the program and its status alone.
 */
export async function runCommand(
  command: readonly [string, ...string[]],
  options: CommandOptions,
): Promise<CommandResult> {
  const [program] = command;
  options.deadline.throwIfExpired();
  const result = await spawnAndWait(command, options);
  if (result.exitCode === 0 || options.okExitCodes?.includes(result.exitCode) === true) return result;
  options.logger.warn('command failed', {
    command: command.join(' '),
    exitCode: result.exitCode,
    stderr: result.stderr,
  });
  throw NabuError.of('COMMAND_FAILED', {
    command: program,
    reason: `exit status ${result.exitCode}`,
    exitCode: result.exitCode,
  });
}

function spawnAndWait(command: readonly [string, ...string[]], options: CommandOptions): Promise<CommandResult> {
  const [program, ...args] = command;
  const { deadline } = options;
  const limit = options.maxOutputBytes ?? DEFAULT_OUTPUT_BYTES;
  const stdout = new BoundedText(limit);
  const stderr = new BoundedText(limit);
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', ...options.env },
      detached: true, // a process group of its own, so that the deadline reaches grandchildren
    });
    const onAbort = (): void => {
      killGroup(child.pid);
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const leave = (): void => deadline.signal.removeEventListener('abort', onAbort);
    deadline.signal.addEventListener('abort', onAbort, { once: true });
    child.stdout.on('data', (chunk: Buffer) => stdout.add(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.add(chunk));
    child.stdin.on('error', () => undefined); // a child that reads no input closes the pipe: its status tells all
    child.stdin.end(options.input);
    child.once('error', (err) => {
      leave();
      reject(spawnError(program, err));
    });
    child.once('close', (code, signal) => {
      leave();
      if (deadline.expired) {
        reject(deadline.signal.reason);
      } else if (code === null) {
        options.logger.warn('command killed', { command: command.join(' '), signal, stderr: stderr.toString() });
        reject(NabuError.of('COMMAND_FAILED', { command: program, reason: `ended by ${signal ?? 'a signal'}` }));
      } else {
        resolve({ exitCode: code, stdout: stdout.toString(), stderr: stderr.toString() });
      }
    });
  });
}

function spawnError(program: string, err: Error): NabuError {
  if (Reflect.get(err, 'code') === 'ENOENT') {
    return NabuError.of(
      'DRIVER_UNAVAILABLE',
      { port: 'program', driver: program, reason: 'it is not installed' },
      { cause: err },
    );
  }
  return NabuError.of('COMMAND_FAILED', { command: program, reason: 'it cannot be started' }, { cause: err });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (err) {
    if (Reflect.get(Object(err), 'code') !== 'ESRCH') throw err;
  }
}
