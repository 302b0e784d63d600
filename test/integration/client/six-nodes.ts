import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NabuError } from '../../../common/errors/index.ts';
import { layoutOf } from '../../../common/layout/index.ts';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock, realRandom } from '../../../common/ports/index.ts';
import { type NodeId, nodeId } from '../../../engine/blob/index.ts';
import { BlobClient } from '../../../engine/client/index.ts';
import { ControlClient, MapFollower } from '../../../engine/control/index.ts';
import { Slab } from '../../../engine/slab/index.ts';
import { TcpTransport } from '../../../engine/transport/index.ts';

const NABU = fileURLToPath(new URL('../../../nabu', import.meta.url));
const START_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
export const NODES = Array.from({ length: 6 }, (_, at) => nodeId(`node-${at + 1}`));

/** Control and six storage nodes as real processes in a folder of their own, and a blob client in this one. */
export class SixNodes {
  readonly dir: string;
  readonly control: ControlClient;
  readonly #processes = new Map<string, ChildProcess>();
  #client: BlobClient | undefined;
  #maps: MapFollower | undefined;

  private constructor(dir: string) {
    this.dir = dir;
    this.control = new ControlClient({ kind: 'unix', path: layoutOf(dir).controlSocket });
  }

  static async start(): Promise<SixNodes> {
    const cluster = new SixNodes(await mkdtemp(join(tmpdir(), 'nabu-six-')));
    await mkdir(layoutOf(cluster.dir).logs, { recursive: true });
    try {
      await cluster.startControl();
      await Promise.all(NODES.map((id) => cluster.startNode(id)));
      await cluster.#openClient();
      return cluster;
    } catch (err) {
      await cluster.close();
      throw err;
    }
  }

  get client(): BlobClient {
    if (this.#client === undefined) throw new Error('the client is not open');
    return this.#client;
  }

  async startControl(): Promise<void> {
    this.#spawn('control', ['control']);
    await this.#until('control answers', async () => (await this.control.health({ timeoutMs: 1000 })).ready);
  }

  /** Resolves when the node has told control where it is. */
  async startNode(id: NodeId): Promise<void> {
    const before = (await this.#map()).nodes.find((node) => node.id === id);
    this.#spawn(id, [
      'stor',
      '--node-id',
      id,
      '--device-size-bytes',
      String(512 << 20),
      '--slab-bytes',
      String(64 << 20),
    ]);
    if (before !== undefined) return;
    await this.#until(
      `${id} is registered`,
      async () => (await this.#map()).nodes.some((node) => node.id === id) === true,
    );
  }

  async kill(name: string): Promise<void> {
    const child = this.#processes.get(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** Stops it where it is, or lets it go on: its sockets stay open all the while. */
  signal(name: string, signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#processes.get(name)?.kill(signal);
  }

  async untilReachable(...nodes: readonly NodeId[]): Promise<void> {
    await this.#until(`${nodes} answer`, async () => nodes.every((id) => this.client.nodes().isReachable(id)));
  }

  async removeDevice(id: NodeId): Promise<void> {
    await rm(layoutOf(this.dir).node(id).device);
  }

  async close(): Promise<void> {
    this.#client?.close();
    await this.#maps?.close();
    this.control.close();
    await Promise.all([...this.#processes.keys()].map((name) => this.kill(name)));
    await rm(this.dir, { recursive: true, force: true });
  }

  async #openClient(): Promise<void> {
    const slab = Slab.create({ sizeBytes: 128 << 20, hugePages: 'no' });
    const cachePath = join(this.dir, 'client', 'map.json');
    const options = { control: this.control, cachePath, clock: realClock, random: realRandom, logger: silentLogger };
    this.#maps = await MapFollower.start(options, AbortSignal.timeout(START_TIMEOUT_MS));
    const transport = new TcpTransport({ slab, clock: realClock, logger: silentLogger });
    const common = { clock: realClock, random: realRandom, logger: silentLogger };
    this.#client = new BlobClient({ slab, transport, maps: this.#maps, ...common, limits: { lastRetryMs: 200 } });
    await this.#until('the map has six nodes', async () => this.#maps?.current().nodes.length === NODES.length);
  }

  #map(): ReturnType<ControlClient['getMap']> {
    return this.control.getMap({ timeoutMs: 2000 });
  }

  #spawn(name: string, args: readonly string[]): void {
    const log = createWriteStream(layoutOf(this.dir).logFile(name), { flags: 'a' });
    const child = spawn(NABU, [...args, '--dir', this.dir], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    this.#processes.set(name, child);
  }

  async #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const end = performance.now() + START_TIMEOUT_MS;
    for (;;) {
      const met = await condition().catch((err: unknown) => {
        if (NabuError.is(err, 'UNAVAILABLE', 'TIMEOUT')) return false;
        throw err;
      });
      if (met) return;
      if (performance.now() > end) throw new Error(`not within ${START_TIMEOUT_MS} ms: ${what}`);
      await realClock.sleep(POLL_MS);
    }
  }
}
