import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DRIVER_NAME } from '../../../device-plugin/dra/index.ts';
import type { KubeCluster } from '../cluster/index.ts';
import type { NodeMachine } from '../device-plugin/node-machine.ts';
import { until } from '../host/until.ts';

const NABU = fileURLToPath(new URL('../../../nabu', import.meta.url));
const PUBLISH_MS = 60_000;

/** `nabu device-plugin` with an API server: of both modes, in this machine's network. */
export class PluginProcess implements AsyncDisposable {
  readonly #cluster: KubeCluster;
  readonly #machine: NodeMachine;
  readonly #folder: string;
  readonly #name = `claims-plugin-${randomBytes(2).toString('hex')}`;

  private constructor(cluster: KubeCluster, machine: NodeMachine, folder: string) {
    this.#cluster = cluster;
    this.#machine = machine;
    this.#folder = folder;
  }

  static async start(
    cluster: KubeCluster,
    machine: NodeMachine,
    ...resources: readonly object[]
  ): Promise<PluginProcess> {
    const folder = await mkdtemp(join(tmpdir(), 'nabu-claims-plugin-'));
    const plugin = new PluginProcess(cluster, machine, folder);
    await mkdir(join(folder, 'udev'));
    await plugin.configure(...resources);
    await plugin.start();
    return plugin;
  }

  async start(): Promise<void> {
    const { roots } = this.#machine.tree;
    const flags = {
      resources: join(this.#folder, 'resources.yaml'),
      'sysfs-root': roots.sysfsRoot,
      'dev-root': roots.devRoot,
      'container-dev-root': roots.devRoot,
      'proc-root': roots.procRoot,
      'kubelet-dir': this.#cluster.kubeletDir,
      'state-dir': join(this.#folder, 'state'),
      'cdi-dir': this.#cluster.cdiDir,
      'udev-dir-in-host': join(this.#folder, 'udev'),
      'node-name': this.#cluster.node,
      kubeconfig: this.#cluster.kubeconfig,
    };
    const words = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
    await this.#cluster.startProcess(this.#name, NABU, ['device-plugin', ...words]);
  }

  /** In one step: JSON is YAML. */
  async configure(...resources: readonly object[]): Promise<void> {
    const path = join(this.#folder, 'resources.yaml');
    await writeFile(`${path}.new`, JSON.stringify({ version: 'v1', resources }));
    await rename(`${path}.new`, path);
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.#cluster.stopProcess(this.#name, signal);
  }

  /** The names of the devices that claims can have. */
  async devices(): Promise<readonly string[]> {
    const selector = `spec.driver=${DRIVER_NAME},spec.nodeName=${this.#cluster.node}`;
    const path = '{.items[*].spec.devices[*].name}';
    const args = ['get', 'resourceslices', '--field-selector', selector, '-o', `jsonpath=${path}`];
    return (await this.#cluster.kubectl(args)).split(' ').filter((name) => name !== '');
  }

  async untilDevices(expected: readonly string[]): Promise<void> {
    try {
      await until(`devices ${expected.join()}`, PUBLISH_MS, async () => {
        const names = await this.devices();
        if (names.join() === expected.join()) return true;
        throw new Error(`there are ${names.join()}`);
      });
    } catch (err) {
      throw new Error(`${String(err)}\n${await this.#cluster.logOf(this.#name)}`, { cause: err });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    const selector = `spec.driver=${DRIVER_NAME}`;
    const names = await this.#cluster.kubectl(['get', 'resourceslices', '--field-selector', selector, '-o', 'name']);
    const slices = names.split('\n').filter((name) => name !== '');
    if (slices.length > 0) await this.#cluster.kubectl(['delete', '--ignore-not-found', ...slices]);
    await rm(this.#folder, { recursive: true, force: true });
  }
}
