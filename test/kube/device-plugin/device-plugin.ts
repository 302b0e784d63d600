import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KubeCluster } from '../cluster/index.ts';
import { until } from '../host/until.ts';
import type { NodeMachine } from './node-machine.ts';

const NABU = fileURLToPath(new URL('../../../nabu', import.meta.url));
/**
 * From a change to what the scheduler sees: the plugin registers anew within 2 s, and the kubelet tells the API server every
 * nodeStatusUpdateFrequency, which is 1 s here and 10 s by default. The rest is for a machine that is busy.
 */
const LAG_MS = 20_000;

export type PluginOptions = {
  /** As in the configuration file; JSON is YAML. */
  readonly resources: readonly object[];
  /** Addresses of network devices that the machine has, such as { ibp26s0: '192.0.2.1' }. */
  readonly addresses?: Readonly<Record<string, string>>;
};

/** `nabu device-plugin` for a machine's tree, before the kubelet of a cluster. */
export class TestDevicePlugin implements AsyncDisposable {
  readonly #cluster: KubeCluster;
  readonly #machine: NodeMachine;
  readonly #folder: string;
  readonly #options: PluginOptions;
  readonly #name = `device-plugin-${randomBytes(2).toString('hex')}`;

  #startedAtMs = 0;

  private constructor(cluster: KubeCluster, machine: NodeMachine, folder: string, options: PluginOptions) {
    this.#cluster = cluster;
    this.#machine = machine;
    this.#folder = folder;
    this.#options = options;
  }

  static async start(cluster: KubeCluster, machine: NodeMachine, options: PluginOptions): Promise<TestDevicePlugin> {
    const folder = await mkdtemp(join(tmpdir(), 'nabu-device-plugin-'));
    const plugin = new TestDevicePlugin(cluster, machine, folder, options);
    await mkdir(join(folder, 'udev'));
    await plugin.configure(options.resources);
    await plugin.start();
    return plugin;
  }

  get #configPath(): string {
    return join(this.#folder, 'device-plugin.yaml');
  }

  async configure(resources: readonly object[]): Promise<void> {
    await writeFile(this.#configPath, JSON.stringify({ version: 'v1', resources }));
  }

  /**
   * In a network namespace of its own, which has the addresses: nobody else on this machine sees them, and they go with the
   * process.
   */
  async start(): Promise<void> {
    const { roots } = this.#machine.tree;
    const flags = {
      resources: this.#configPath,
      'sysfs-root': roots.sysfsRoot,
      'dev-root': roots.devRoot,
      'container-dev-root': roots.devRoot,
      'proc-root': roots.procRoot,
      'kubelet-dir': this.#cluster.kubeletDir,
      'state-dir': join(this.#folder, 'state'),
      'cdi-dir': this.#cluster.cdiDir,
      'udev-dir-in-host': join(this.#folder, 'udev'),
      'node-name': this.#cluster.node,
    };
    const words = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
    const network = Object.entries(this.#options.addresses ?? {}).flatMap(([name, address], index) => [
      `ip link add ${name} type veth peer name peer${index}`,
      `ip address add ${address}/24 dev ${name}`,
      `ip link set ${name} up`,
      `ip link set peer${index} up`,
    ]);
    const script = ['set -e', 'ip link set lo up', ...network, 'exec "$@"'].join('\n');
    const args = ['--net', '/bin/sh', '-c', script, 'sh', NABU, 'device-plugin', ...words];
    this.#startedAtMs = Date.now();
    await this.#cluster.startProcess(this.#name, 'unshare', args);
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.#cluster.stopProcess(this.#name, signal);
  }

  async log(): Promise<string> {
    return await this.#cluster.logOf(this.#name);
  }

  /**
   * Resolves when the kubelet has said, after the plugin's start or after `since`, that it has so much of each resource;
   * rejects with the plugin's log.
   */
  async untilOffered(amounts: Readonly<Record<string, string>>, since = this.#startedAtMs): Promise<void> {
    try {
      await untilAllocatable(this.#cluster, amounts, LAG_MS, since);
    } catch (err) {
      throw new Error(`${String(err)}\n${await this.log()}`, { cause: err });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/**
 * Waits for what pods may have of the node, as the scheduler sees it. With `since` (Date.now()) the kubelet has to have said
 * it after that: what it said before stands until it says something else.
 */
export async function untilAllocatable(
  cluster: KubeCluster,
  amounts: Readonly<Record<string, string>>,
  timeoutMs: number,
  since = 0,
): Promise<void> {
  const { CoreV1Api } = await import('@kubernetes/client-node');
  const api = await cluster.api(CoreV1Api);
  await until(`the node to offer ${JSON.stringify(amounts)}`, timeoutMs, async () => {
    const { status } = await api.readNode({ name: cluster.node });
    const ready = status?.conditions?.find(({ type }) => type === 'Ready');
    // Whole seconds.
    if ((ready?.lastHeartbeatTime?.getTime() ?? 0) <= since) throw new Error('the kubelet has said nothing new');
    const now = status?.allocatable ?? {};
    const differing = Object.keys(amounts).filter((name) => now[name] !== amounts[name]);
    if (differing.length === 0) return true;
    throw new Error(`it offers ${differing.map((name) => `${name}: ${now[name] ?? 'none'}`).join(', ')}`);
  });
}
