import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('stamping-writer.ts', import.meta.url));
/** Every area has one call in the kernel, which may wait for as long as a server is away. */
const THREADS = '16';

export type WriterCommand =
  | { readonly do: 'open'; readonly raw: string; readonly file: string }
  | { readonly do: 'prepare' | 'start' | 'pause' | 'verify' | 'complete-one' | 'flush' }
  | { readonly do: 'expect-loss' | 'close' | 'settle' };

export type WriterCounts = {
  readonly writes: number;
  readonly flushes: number;
  readonly verified: number;
  /** What was wrong since the last answer: content that must not be, errors of the file system or the device. */
  readonly faults: readonly string[];
};
export type WriterAnswer = { readonly id: number; readonly counts: WriterCounts; readonly fault?: string };

/** The stamping writer, and what it found. */
export class WriterProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: WriterAnswer) => void>();
  readonly #gone = Promise.withResolvers<never>();
  #nextId = 1;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (answer: WriterAnswer) => this.#waiting.get(answer.id)?.(answer));
    child.once('exit', (code, signal) => this.#gone.reject(new Error(`the writer ended: ${code ?? signal}`)));
    this.#gone.promise.catch(() => undefined);
  }

  static start(seed: number): WriterProcess {
    const execArgv = ['--disable-warning=ExperimentalWarning', '--unhandled-rejections=strict'];
    const env = { ...process.env, UV_THREADPOOL_SIZE: THREADS };
    return new WriterProcess(fork(PROGRAM, [String(seed)], { execArgv, env }));
  }

  /** Rejects when the command fails or anything was found wrong since the last one. */
  async run(command: WriterCommand): Promise<WriterCounts> {
    const id = this.#nextId++;
    const answered = new Promise<WriterAnswer>((resolve) => this.#waiting.set(id, resolve));
    this.#child.send({ id, command });
    const { counts, fault } = await Promise.race([answered, this.#gone.promise]);
    this.#waiting.delete(id);
    assert.equal(fault, undefined, `${command.do}: ${fault}`);
    assert.deepEqual(counts.faults, [], `found wrong by ${command.do}`);
    return counts;
  }

  /** SIGKILL: a call that waits in the kernel ends when its device does. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}
