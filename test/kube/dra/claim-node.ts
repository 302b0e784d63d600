import { DRIVER_NAME, type DraDriver } from '../../../device-plugin/dra/index.ts';
import { kubeconfigAccess } from '../../../device-plugin/kube-api/index.ts';
import { MACHINES } from '../../fixtures/machines/index.ts';
import { type DraPool, DraRig } from '../../support/dra-rig.ts';
import type { KubeCluster } from '../cluster/index.ts';
import { until } from '../host/until.ts';
import { applyClasses, deleteClasses } from './classes.ts';
import { type GpuDriver, GpuDriver as Gpus } from './gpu-driver.ts';

const CLASSES = ['deviceclasses.yaml', 'deviceclasses-extended.yaml'];
const PUBLISH_MS = 20_000;

type Slice = {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly devices?: readonly { readonly name: string }[] };
};

/** The recorded H200 node on a cluster's node: our driver for its HCAs, and another vendor's for its GPUs. */
export class ClaimNode implements AsyncDisposable {
  readonly cluster: KubeCluster;
  readonly rig: DraRig;
  readonly pools: readonly DraPool[];
  readonly #gpus: GpuDriver;
  driver: DraDriver;

  private constructor(parts: {
    cluster: KubeCluster;
    rig: DraRig;
    pools: readonly DraPool[];
    gpus: GpuDriver;
  }) {
    this.cluster = parts.cluster;
    this.rig = parts.rig;
    this.pools = parts.pools;
    this.#gpus = parts.gpus;
    this.driver = this.#make();
  }

  /** `resources`: as in the file of resources; of mode dra. */
  static async start(
    cluster: KubeCluster,
    resources: readonly Readonly<Record<string, unknown>>[],
  ): Promise<ClaimNode> {
    const { node: nodeName, kubeletDir, cdiDir } = cluster;
    const rig = new DraRig(MACHINES['h200-8gpu'], { nodeName, kubeletDir, cdiDir });
    await applyClasses(cluster, ...CLASSES);
    const gpus = await Gpus.start(cluster, await rig.inventory());
    const pools: DraPool[] = [];
    for (const resource of resources) pools.push(await rig.pool(resource));
    const node = new ClaimNode({ cluster, rig, pools, gpus });
    try {
      await node.start();
      return node;
    } catch (err) {
      await node[Symbol.asyncDispose]();
      throw err;
    }
  }

  #make(): DraDriver {
    return this.rig.driver(() => kubeconfigAccess(this.cluster.kubeconfig), { limits: { lookMs: 500, publisher: {} } });
  }

  async start(): Promise<void> {
    await this.driver.start();
    for (const pool of this.pools) this.driver.serve(pool);
    await until('the driver to be registered and its devices published', PUBLISH_MS, async () => {
      const { isRegistered, isPublished, cause } = this.driver.state;
      if (isRegistered && isPublished) return true;
      throw new Error(JSON.stringify({ isRegistered, isPublished, cause }));
    });
  }

  /** As a process that ends. */
  async stop(): Promise<void> {
    await this.driver.close();
    this.driver = this.#make();
  }

  async slices(): Promise<readonly Slice[]> {
    const selector = `spec.driver=${DRIVER_NAME},spec.nodeName=${this.cluster.node}`;
    const text = await this.cluster.kubectl(['get', 'resourceslices', '--field-selector', selector, '-o', 'json']);
    return (JSON.parse(text) as { items: Slice[] }).items;
  }

  async devices(): Promise<readonly string[]> {
    return (await this.slices()).flatMap(({ spec }) => (spec.devices ?? []).map(({ name }) => name));
  }

  async untilDevices(expected: readonly string[]): Promise<void> {
    await until(`devices ${expected.join()}`, PUBLISH_MS, async () => {
      const names = await this.devices();
      if (names.join() === expected.join()) return true;
      throw new Error(`there are ${names.join()}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.driver.close();
    await this.#gpus[Symbol.asyncDispose]();
    const names = (await this.slices()).map(({ metadata }) => metadata.name);
    if (names.length > 0) await this.cluster.kubectl(['delete', 'resourceslice', '--ignore-not-found', ...names]);
    await deleteClasses(this.cluster, ...CLASSES);
    this.rig[Symbol.dispose]();
  }
}
