import { join } from 'node:path';
import { GrpcServer } from '../../../common/grpc/index.ts';
import { silentLogger } from '../../../common/logging/index.ts';
import type { Inventory } from '../../../device-plugin/discovery/index.ts';
import { services } from '../../../proto/gen/services.js';
import type { KubeCluster } from '../cluster/index.ts';

export const GPU_DRIVER = 'gpu.test.nabustore.io';
export const GPU_CLASS = 'gpu.test.nabustore.io';
const SERVICE = services['k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin'];

/**
 * Another vendor's driver: publishes the GPUs of a recorded machine with their PCIe roots, as NVIDIA's does, and prepares
 * claims for them without doing anything to a container.
 */
export class GpuDriver implements AsyncDisposable {
  readonly #cluster: KubeCluster;
  readonly #servers: readonly GrpcServer[];

  private constructor(cluster: KubeCluster, servers: readonly GrpcServer[]) {
    this.#cluster = cluster;
    this.#servers = servers;
  }

  static async start(cluster: KubeCluster, { gpus }: Inventory): Promise<GpuDriver> {
    const { node, kubeletDir } = cluster;
    const devices = gpus.map(({ pci }, at) => ({
      name: `gpu-${at}`,
      attributes: {
        'resource.kubernetes.io/pcieRoot': { string: pci.pcieRoot },
        'resource.kubernetes.io/pciBusID': { string: pci.address },
      },
    }));
    const endpoint = join(kubeletDir, 'plugins', GPU_DRIVER, 'dra.sock');
    const plugin = new GrpcServer({ logger: silentLogger });
    plugin.add(SERVICE, {
      nodePrepareResources: async ({ claims }) => ({
        claims: Object.fromEntries(claims.map(({ uid }) => [uid, { devices: [], error: '' }])),
      }),
      nodeUnprepareResources: async ({ claims }) => ({
        claims: Object.fromEntries(claims.map(({ uid }) => [uid, { error: '' }])),
      }),
    });
    const registration = new GrpcServer({ logger: silentLogger });
    registration.add(services['pluginregistration.Registration'], {
      getInfo: async () => ({ type: 'DRAPlugin', name: GPU_DRIVER, endpoint, supportedVersions: ['v1.DRAPlugin'] }),
      notifyRegistrationStatus: async () => ({}),
    });
    await plugin.listen({ kind: 'unix', path: endpoint });
    await registration.listen({ kind: 'unix', path: join(kubeletDir, 'plugins_registry', `${GPU_DRIVER}-reg.sock`) });
    const driver = new GpuDriver(cluster, [registration, plugin]);
    await cluster.apply(
      {
        apiVersion: 'resource.k8s.io/v1',
        kind: 'DeviceClass',
        metadata: { name: GPU_CLASS },
        spec: { selectors: [{ cel: { expression: `device.driver == '${GPU_DRIVER}'` } }] },
      },
      {
        apiVersion: 'resource.k8s.io/v1',
        kind: 'ResourceSlice',
        metadata: { name: `gpus-${node}` },
        spec: {
          driver: GPU_DRIVER,
          nodeName: node,
          pool: { name: node, generation: 1, resourceSliceCount: 1 },
          devices,
        },
      },
    );
    return driver;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) await server.close(0);
    const { node } = this.#cluster;
    await this.#cluster.kubectl(['delete', 'resourceslice', `gpus-${node}`, '--ignore-not-found']);
    await this.#cluster.kubectl(['delete', 'deviceclass', GPU_CLASS, '--ignore-not-found']);
  }
}
