import type { V1Container, V1Pod } from '@kubernetes/client-node';
import { z } from 'zod';
import type { KubeCluster } from '../cluster/index.ts';
import { until } from '../host/until.ts';
import { type Namespace, pod } from '../pods/index.ts';
import { GPU_CLASS } from './gpu-driver.ts';

const ALLOCATED_MS = 30_000;

export const HCA_CLASS = 'rdma.nabustore.io';

export type Request = Readonly<Record<string, unknown>> & { readonly deviceClassName: string };

/** A claim of requests r0, r1, ...; `aligned`: behind one PCIe root. */
export function claim(name: string, requests: readonly Request[], { aligned = false } = {}): object {
  const constraints = aligned ? [{ matchAttribute: 'resource.kubernetes.io/pcieRoot' }] : [];
  return {
    apiVersion: 'resource.k8s.io/v1',
    kind: 'ResourceClaim',
    metadata: { name },
    spec: { devices: { requests: requests.map((exactly, at) => ({ name: `r${at}`, exactly })), constraints } },
  };
}

export const gpuAndHca = (name: string): object =>
  claim(name, [{ deviceClassName: GPU_CLASS }, { deviceClassName: HCA_CLASS }], { aligned: true });

/** A pod whose one container has the whole of a claim of its name. */
export function podWith(claimName: string, container: Partial<V1Container> = {}, name = claimName): V1Pod {
  const resources = { limits: { cpu: '10m', memory: '16Mi' }, claims: [{ name: 'it' }] };
  return pod(name, { resources, ...container }, { resourceClaims: [{ name: 'it', resourceClaimName: claimName }] });
}

const claimSchema = z.looseObject({
  metadata: z.looseObject({ uid: z.string() }),
  status: z
    .looseObject({
      allocation: z
        .looseObject({
          devices: z.looseObject({ results: z.array(z.looseObject({ driver: z.string(), device: z.string() })) }),
        })
        .optional(),
    })
    .optional(),
});

/** Claims of a namespace. */
export class Claims {
  readonly #cluster: KubeCluster;
  readonly #namespace: Namespace;

  constructor(cluster: KubeCluster, namespace: Namespace) {
    this.#cluster = cluster;
    this.#namespace = namespace;
  }

  async create(...claims: readonly object[]): Promise<void> {
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: claims });
    await this.#cluster.kubectl(['--namespace', this.#namespace.name, 'create', '-f', '-'], { input });
  }

  async read(name: string): Promise<z.output<typeof claimSchema>> {
    const args = ['--namespace', this.#namespace.name, 'get', 'resourceclaim', name, '-o', 'json'];
    return claimSchema.parse(JSON.parse(await this.#cluster.kubectl(args)));
  }

  /** The names of its devices, by driver; undefined while it has none. */
  async allocation(name: string): Promise<Readonly<Record<string, string>> | undefined> {
    const results = (await this.read(name)).status?.allocation?.devices.results;
    return results === undefined
      ? undefined
      : Object.fromEntries(results.map(({ driver, device }) => [driver, device]));
  }

  async untilAllocated(name: string): Promise<Readonly<Record<string, string>>> {
    return await until(`claim ${name} to be allocated`, ALLOCATED_MS, () => this.allocation(name));
  }

  /** Of the only claim that was made for a pod, such as for its extended resources. */
  async uids(): Promise<readonly string[]> {
    const text = await this.#cluster.kubectl([
      '--namespace',
      this.#namespace.name,
      'get',
      'resourceclaims',
      '-o',
      'json',
    ]);
    return (JSON.parse(text) as { items: { metadata: { uid: string } }[] }).items.map(({ metadata }) => metadata.uid);
  }

  async remove(name: string): Promise<void> {
    await this.#cluster.kubectl(['--namespace', this.#namespace.name, 'delete', 'resourceclaim', name]);
  }
}
