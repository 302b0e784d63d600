import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KubeCluster } from '../cluster/index.ts';
import { until } from '../host/until.ts';
import type { NodeMachine } from './node-machine.ts';

const NABU = fileURLToPath(new URL('../../../nabu', import.meta.url));
const OFFER_MS = 30_000;

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
    await this.#cluster.startProcess(this.#name, 'unshare', args);
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.#cluster.stopProcess(this.#name, signal);
  }

  async log(): Promise<string> {
    return await this.#cluster.logOf(this.#name);
  }

  /** Resolves when the node offers so much of each resource; rejects with the plugin's log. */
  async untilOffered(amounts: Readonly<Record<string, string>>): Promise<void> {
    try {
      await untilAllocatable(this.#cluster, amounts, OFFER_MS);
    } catch (err) {
      throw new Error(`${String(err)}\n${await this.log()}`, { cause: err });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** What pods may have of the node, as the scheduler sees it. */
export async function allocatable(cluster: KubeCluster): Promise<Readonly<Record<string, string>>> {
  const { CoreV1Api } = await import('@kubernetes/client-node');
  const { status } = await (await cluster.api(CoreV1Api)).readNode({ name: cluster.node });
  return status?.allocatable ?? {};
}

export async function untilAllocatable(
  cluster: KubeCluster,
  amounts: Readonly<Record<string, string>>,
  timeoutMs: number,
): Promise<void> {
  await until(`the node to offer ${JSON.stringify(amounts)}`, timeoutMs, async () => {
    const now = await allocatable(cluster);
    const differing = Object.keys(amounts).filter((name) => now[name] !== amounts[name]);
    if (differing.length === 0) return true;
    throw new Error(`it offers ${differing.map((name) => `${name}: ${now[name] ?? 'none'}`).join(', ')}`);
  });
}
