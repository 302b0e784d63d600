import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Deadline } from '../../../common/concurrency/index.ts';
import { layoutOf } from '../../../common/layout/index.ts';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock } from '../../../common/ports/index.ts';
import { clientHello, RemoteNode } from '../../../engine/protocol/index.ts';
import { Slab } from '../../../engine/slab/index.ts';
import { type Connection, TcpTransport } from '../../../engine/transport/index.ts';

const ROOT = join(import.meta.dirname, '../../..');
const POLL_MS = 10;
const MIB = 1024 * 1024;

type Running = { readonly child: ChildProcess; readonly log: string[] };

/** Control and storage nodes as real processes below one folder; all of it is gone afterwards. */
export class StorCluster implements AsyncDisposable {
  readonly dir: string;
  readonly slab = Slab.create({ sizeBytes: 64 * MIB, hugePages: 'no' });
  readonly deadline = new Deadline({ clock: realClock, operation: 'a test', timeoutMs: 120_000 });
  readonly #transport = new TcpTransport({ slab: this.slab, clock: realClock, logger: silentLogger });
  readonly #running = new Map<string, Running>();
  readonly #connections: Connection[] = [];

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async make(): Promise<StorCluster> {
    return new StorCluster(await mkdtemp(join(tmpdir(), 'nabu-stor-')));
  }

  startControl(): void {
    this.#start('control', ['control', '--dir', this.dir]);
  }

  startNode(id: string, flags: readonly string[] = []): void {
    const size = ['--device-size-bytes', String(64 * MIB), '--slab-bytes', String(16 * MIB)];
    this.#start(id, ['stor', '--dir', this.dir, '--node-id', id, ...size, ...flags]);
  }

  /** Dials again until the node answers. */
  async connect(id: string): Promise<{ node: RemoteNode; connection: Connection }> {
    for (;;) {
      this.deadline.throwIfExpired();
      try {
        const record: { clusterId: string; host: string; port: number } = JSON.parse(
          await readFile(layoutOf(this.dir).node(id).record, 'utf8'),
        );
        const hello = clientHello(record.clusterId, id, 'a test');
        const connection = await this.#transport.connect(record, hello, { deadline: this.deadline });
        this.#connections.push(connection);
        return { node: new RemoteNode(connection), connection };
      } catch {
        const running = this.#running.get(id);
        const { exitCode = null, signalCode = null } = running?.child ?? {};
        if (exitCode !== null || signalCode !== null) {
          throw new Error(`${id} ended with ${exitCode ?? signalCode}: ${this.logOf(id)}`);
        }
        await realClock.sleep(POLL_MS);
      }
    }
  }

  /** Asks again until the answer is yes. */
  async until(condition: () => Promise<boolean>): Promise<void> {
    while (!(await condition())) {
      this.deadline.throwIfExpired();
      await realClock.sleep(POLL_MS);
    }
  }

  logOf(id: string): string {
    return this.#running.get(id)?.log.join('') ?? '';
  }

  /** Ends a process and waits until it is gone; its exit code, null after SIGKILL. */
  async end(id: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const running = this.#running.get(id);
    if (running === undefined) return null;
    this.#running.delete(id);
    if (running.child.exitCode === null && running.child.signalCode === null) {
      const gone = once(running.child, 'exit');
      running.child.kill(signal);
      await gone;
    }
    return running.child.exitCode;
  }

  async waitForExit(id: string): Promise<number | null> {
    const running = this.#running.get(id);
    if (running === undefined) return null;
    if (running.child.exitCode === null) await once(running.child, 'exit');
    return running.child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#connections) connection.close();
    await Promise.all([...this.#running.keys()].map((id) => this.end(id, 'SIGKILL')));
    this.deadline[Symbol.dispose]();
    await rm(this.dir, { recursive: true, force: true });
  }

  #start(name: string, args: readonly string[]): void {
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', join(ROOT, 'cli/main.ts'), ...args],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    const log: string[] = [];
    child.stderr?.on('data', (chunk: Buffer) => log.push(chunk.toString()));
    this.#running.set(name, { child, log });
  }
}
