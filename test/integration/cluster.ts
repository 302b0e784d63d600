import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DetachedProcesses } from '../../cli/detached.ts';
import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { identifyProcess, isAlive } from '../../common/fs/index.ts';
import { type ClientOf, GrpcClient } from '../../common/grpc/index.ts';
import { type Layout, layoutOf } from '../../common/layout/index.ts';
import { realClock } from '../../common/ports/index.ts';
import { ControlClient, type Volume } from '../../engine/control/index.ts';
import { ensureSlot, KeeperClient, keeperName } from '../../engine/volume/index.ts';
import type { nabustore } from '../../proto/gen/messages.js';
import { services } from '../../proto/gen/services.js';

const run = promisify(execFile);
const KEEPER = fileURLToPath(new URL('../../build/native/volume/nabu-keeper', import.meta.url));
const CONTROL = 'control';
const CALL_MS = 60_000;
const START_MS = 60_000;
const POLL_MS = 10;
const MIB = 1 << 20;

export type TestClusterOptions = {
  readonly nodes?: number;
  readonly deviceSizeBytes?: number;
  readonly policy?: string;
  /** Further arguments of `nabu stor`. */
  readonly nodeArguments?: readonly string[];
  /** Further arguments of `nabu volume-server`. */
  readonly serverArguments?: readonly string[];
};

export type OpenedVolume = { readonly id: string; readonly device: string; readonly generation: bigint };

/**
 * Control, storage nodes and one keeper with its volume server, as real processes in a temporary folder. Close it whatever happens:
 * it takes away every mount, loop device and process of the folder.
 */
export class TestCluster {
  readonly dir: string;
  readonly layout: Layout;
  readonly nodes: readonly string[];
  readonly control: ControlClient;
  readonly host: ClientOf<(typeof services)['nabustore.v1.VolumeHost']>;
  readonly #options: TestClusterOptions;
  readonly #processes: DetachedProcesses;
  readonly #grpc: GrpcClient;

  private constructor(dir: string, options: TestClusterOptions) {
    this.dir = dir;
    this.#options = options;
    this.layout = layoutOf(dir);
    this.nodes = Array.from({ length: options.nodes ?? 6 }, (_, index) => `node-${index + 1}`);
    this.control = new ControlClient({ kind: 'unix', path: this.layout.controlSocket });
    this.#grpc = new GrpcClient({ address: { kind: 'unix', path: this.layout.volumeHostSocket(0) } });
    this.host = this.#grpc.service(services['nabustore.v1.VolumeHost']);
    this.#processes = new DetachedProcesses(this.layout, realClock);
  }

  /** Empty when this machine can run one; else what it lacks. */
  static async missing(): Promise<string> {
    if (process.getuid?.() !== 0) return 'root, for FUSE and loop devices';
    for (const path of ['/dev/fuse', '/dev/loop-control']) {
      if ((await readFile(path, { flag: 'r' }).catch((err: { code?: string }) => err.code)) === 'ENOENT') return path;
    }
    return '';
  }

  static async start(options: TestClusterOptions = {}): Promise<TestCluster> {
    const cluster = new TestCluster(await mkdtemp(join(tmpdir(), 'nabu-test-')), options);
    try {
      await cluster.startControl();
      await Promise.all(cluster.nodes.map((node) => cluster.startNode(node)));
      await cluster.startKeeper();
      return cluster;
    } catch (err) {
      process.stderr.write(await cluster.logs());
      await cluster.close();
      throw err;
    }
  }

  async startControl(): Promise<void> {
    const policy = this.#options.policy ?? 'ec:4+2';
    await this.#processes.start(CONTROL, ['control', '--dir', this.dir, '--default-policy', policy]);
    await this.#until('control', async () => (await this.control.health({ timeoutMs: 1000 })).ready);
  }

  async startNode(node: string): Promise<void> {
    const size = String(this.#options.deviceSizeBytes ?? 768 * MIB);
    const args = ['stor', '--dir', this.dir, '--node-id', node, '--device-size-bytes', size];
    await this.#processes.start(node, [...args, ...(this.#options.nodeArguments ?? [])]);
    const identity = await this.#processes.running(node);
    await this.#until(node, async () => {
      const { nodes } = await this.control.listNodes({ timeoutMs: 1000 });
      if (identity === undefined || !(await isAlive(identity))) throw new Error(`${node} ended while starting`);
      const isKnown = nodes.some(({ id, state }) => id === node && state === 'up');
      return isKnown && (await this.#listeningPid(node)) === identity.pid;
    });
  }

  /** A node writes who it is when it listens; control may know it from an earlier life. */
  async #listeningPid(node: string): Promise<number> {
    const record = await readFile(this.layout.node(node).record, 'utf8').catch(() => '{}');
    const { pid = 0 }: { pid?: number } = JSON.parse(record);
    return pid;
  }

  async startKeeper(): Promise<void> {
    using deadline = this.#deadline('starting the keeper', START_MS);
    const serverArguments = this.#options.serverArguments ?? [];
    await ensureSlot({ layout: this.layout, clock: realClock, serverArguments }, 0, deadline);
  }

  /** SIGKILL; resolves when it is gone. */
  async killNode(node: string): Promise<void> {
    using deadline = this.#deadline(`killing ${node}`, START_MS);
    await this.#processes.stop(node, 'SIGKILL', deadline);
  }

  async killControl(): Promise<void> {
    using deadline = this.#deadline('killing control', START_MS);
    await this.#processes.stop(CONTROL, 'SIGKILL', deadline);
  }

  /** SIGKILL to the volume server. Its keeper starts another; `serverReady` waits for that. */
  async killServer(): Promise<void> {
    const keeper = this.keeper();
    try {
      process.kill((await keeper.ping()).serverPid, 'SIGKILL');
    } finally {
      keeper.close();
    }
  }

  /** SIGKILL to both: what only the shared memory had is gone, the devices answer errors. `cleanUpKeeper` takes them away. */
  async killKeeperAndServer(): Promise<void> {
    const keeper = this.keeper();
    const { pid, serverPid } = await keeper.ping().finally(() => keeper.close());
    const [keeperLife, serverLife] = await Promise.all([identifyProcess(pid), identifyProcess(serverPid)]);
    for (const life of [keeperLife, serverLife]) if (life !== undefined) process.kill(life.pid, 'SIGKILL');
    await this.#until('the end of keeper and server', async () => {
      for (const life of [keeperLife, serverLife]) if (life !== undefined && (await isAlive(life))) return false;
      return true;
    });
  }

  /** Mounts and devices of a keeper that died. */
  async cleanUpKeeper(): Promise<void> {
    await run(KEEPER, ['--cleanup', join(this.layout.volumes, 'slot-0')], { timeout: CALL_MS });
  }

  /** Until a server answers and serves these volumes. */
  async serverReady(...ids: readonly string[]): Promise<void> {
    await this.#until('the volume server', async () => {
      const { volumes } = await this.host.listVolumes({}, { timeoutMs: 1000 });
      return ids.every((id) => volumes.some(({ volumeId, state }) => volumeId === id && state === 'serving'));
    });
  }

  keeper(): KeeperClient {
    return KeeperClient.connect(this.layout.keeperSocket(0), { clock: realClock });
  }

  /** A new volume, attached to this machine and open. */
  async openVolume(request: {
    name: string;
    sizeBytes: number;
    policy?: string;
    ioTimeoutMs?: number;
  }): Promise<OpenedVolume> {
    const { name, sizeBytes, policy = '', ioTimeoutMs = 0 } = request;
    const { id } = await this.control.createVolume(
      { name, sizeBytes: BigInt(sizeBytes), policy },
      { timeoutMs: CALL_MS },
    );
    return await this.reopenVolume(id, ioTimeoutMs);
  }

  async reopenVolume(id: string, ioTimeoutMs = 0): Promise<OpenedVolume> {
    const volume: Volume = await this.control.attachVolume({ id, nodeName: hostname() }, { timeoutMs: CALL_MS });
    const generation = volume.attachment?.generation ?? 0n;
    const opened = await this.host.openVolume(
      { volumeId: id, generation, readOnly: false, ioTimeoutMs },
      { timeoutMs: CALL_MS },
    );
    return { id, device: opened.devicePath, generation };
  }

  async volume(id: string): Promise<nabustore.v1.HostedVolume> {
    return await this.host.getVolume({ volumeId: id }, { timeoutMs: CALL_MS });
  }

  async closeVolume(id: string): Promise<void> {
    await this.host.closeVolume({ volumeId: id }, { timeoutMs: CALL_MS });
  }

  /** Lines of all logs, for a test that fails. */
  async logs(lines = 20): Promise<string> {
    const texts = await Promise.all(
      [CONTROL, ...this.nodes, keeperName(0)].map(async (name) => {
        const text = await readFile(this.layout.logFile(name), 'utf8').catch(() => '');
        return `--- ${name}\n${text.split('\n').slice(-lines).join('\n')}`;
      }),
    );
    return `${texts.join('\n')}\n`;
  }

  async close(): Promise<void> {
    await this.#unmountAll();
    await this.#shutdownKeeper();
    for (const name of await this.#processes.names()) {
      using deadline = this.#deadline(`ending ${name}`, START_MS);
      await this.#processes.stop(name, 'SIGKILL', deadline);
    }
    await this.cleanUpKeeper().catch(() => undefined);
    this.control.close();
    this.#grpc.close();
    await rm(this.dir, { recursive: true, force: true });
  }

  async #unmountAll(): Promise<void> {
    const mounts = (await readFile('/proc/self/mountinfo', 'utf8'))
      .split('\n')
      .flatMap((line) => line.split(' ')[4] ?? []);
    const ours = mounts.filter((path) => path.startsWith(`${this.dir}/`) && !path.startsWith(this.layout.volumes));
    for (const path of ours.reverse()) {
      await run('umount', ['--lazy', path], { timeout: CALL_MS }).catch(() => undefined);
    }
  }

  async #shutdownKeeper(): Promise<void> {
    try {
      const keeper = this.keeper();
      await keeper.shutdown({ force: true }).finally(() => keeper.close());
    } catch {
      return; // there is none: the pid files say the rest
    }
  }

  /** Asks again until the answer is yes; what does not answer yet is asked again too. */
  async #until(what: string, ask: () => Promise<boolean>): Promise<void> {
    using deadline = this.#deadline(`waiting for ${what}`, START_MS);
    for (;;) {
      const done = await ask().catch((err: unknown) => {
        if (NabuError.is(err, 'UNAVAILABLE', 'TIMEOUT')) return false;
        throw err;
      });
      if (done) return;
      await realClock.sleep(POLL_MS, deadline.signal);
    }
  }

  #deadline(operation: string, timeoutMs: number): Deadline {
    return new Deadline({ clock: realClock, operation, timeoutMs });
  }
}
