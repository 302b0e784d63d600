import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { NabuError } from '../../common/errors/index.ts';
import { GrpcServer, type MessageInit } from '../../common/grpc/index.ts';
import { silentLogger } from '../../common/logging/index.ts';
import type { v1 } from '../../proto/gen/messages.js';
import { services } from '../../proto/gen/services.js';

export type PodResourcesManners = {
  /** How many calls are answered as by a kubelet that is asked too often. */
  readonly refusals?: number;
  /** Answers Get as a kubelet whose feature gate for it is off. */
  readonly hasNoGet?: boolean;
  /** Takes calls and answers none. */
  readonly hangs?: boolean;
};

export type DoubleContainer = {
  readonly namespace?: string;
  readonly pod: string;
  readonly container?: string;
  /** Ids by resource. */
  readonly devices?: Readonly<Record<string, readonly string[]>>;
  /** Nodes of every device. */
  readonly numaNodes?: readonly number[];
  /** Devices of one claim: driver, pool and name. */
  readonly claimed?: readonly (readonly [driver: string, pool: string, device: string])[];
};

/** What a client makes of a status that says nothing but a sentence. */
function unknownStatus(reason: string): NabuError {
  return NabuError.of('PROTOCOL_ERROR', { peer: 'the kubelet', reason });
}

function devicesOf({ devices = {}, numaNodes = [] }: DoubleContainer): MessageInit<v1.ContainerDevices>[] {
  return Object.entries(devices).flatMap(([resourceName, ids]) =>
    ids.flatMap((id): MessageInit<v1.ContainerDevices>[] => {
      const entry = { resourceName, deviceIds: [id] };
      if (numaNodes.length === 0) return [entry];
      return numaNodes.map((node) => ({ ...entry, topology: { nodes: [{ ID: node }] } }));
    }),
  );
}

/**
 * The kubelet's pod resources API v1 (Kubernetes 1.36, pkg/kubelet/apis/podresources) over a real socket: one entry for each
 * device and NUMA node, nothing about init containers, refusals with RESOURCE_EXHAUSTED.
 */
export class PodResourcesDouble {
  readonly socket: string;
  /** What containers hold; those of one pod are listed together. */
  containers: DoubleContainer[] = [];
  /** All that the node has, by resource: ids by NUMA node. */
  allocatable: Readonly<Record<string, readonly (readonly string[])[]>> = {};
  lists = 0;
  gets = 0;
  #manners: PodResourcesManners = {};
  #refused = 0;
  #server: GrpcServer | undefined;

  constructor(socket: string) {
    this.socket = socket;
  }

  async start(manners: PodResourcesManners = {}): Promise<void> {
    this.#manners = manners;
    this.#refused = 0;
    await mkdir(dirname(this.socket), { recursive: true, mode: 0o750 });
    const server = new GrpcServer({ logger: silentLogger, maxMessageBytes: 64 << 20 });
    server.add(services['v1.PodResourcesLister'], {
      list: (_request, { signal }) => this.#list(signal),
      get: (request, { signal }) => this.#get(request, signal),
      getAllocatableResources: async () => ({ devices: this.#allocatable() }),
    });
    this.#server = server;
    await server.listen({ kind: 'unix', path: this.socket });
  }

  async stop(): Promise<void> {
    await this.#server?.close(0);
    this.#server = undefined;
  }

  async #list(signal: AbortSignal): Promise<MessageInit<v1.ListPodResourcesResponse>> {
    this.lists++;
    const { hangs = false, refusals = 0 } = this.#manners;
    if (hangs) await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    if (this.#refused < refusals) {
      this.#refused++;
      throw NabuError.of('RESOURCE_EXHAUSTED', { resource: 'calls', reason: 'rejected by rate limit' });
    }
    const pods = new Map<string, DoubleContainer[]>();
    for (const one of this.containers) {
      const key = `${one.namespace ?? 'default'}/${one.pod}`;
      pods.set(key, [...(pods.get(key) ?? []), one]);
    }
    return {
      podResources: [...pods].map(([key, containers]) => ({
        namespace: key.split('/')[0],
        name: key.split('/')[1],
        containers: containers.map((one) => ({
          name: one.container ?? 'main',
          devices: devicesOf(one),
          cpuIds: [0, 1],
          dynamicResources: this.#claims(one),
        })),
      })),
    };
  }

  async #get(
    request: v1.GetPodResourcesRequest,
    signal: AbortSignal,
  ): Promise<MessageInit<v1.GetPodResourcesResponse>> {
    this.gets++;
    if (this.#manners.hasNoGet === true) throw unknownStatus('PodResources API Get method disabled');
    const { podName, podNamespace } = request;
    const { podResources = [] } = await this.#list(signal);
    this.lists--;
    const found = podResources.find(({ name, namespace }) => name === podName && namespace === podNamespace);
    if (found === undefined) throw unknownStatus(`pod ${podName} in namespace ${podNamespace} not found`);
    return { podResources: found };
  }

  #allocatable(): MessageInit<v1.ContainerDevices>[] {
    return Object.entries(this.allocatable).flatMap(([resourceName, byNuma]) =>
      byNuma.flatMap((ids, ID) => ids.map((id) => ({ resourceName, deviceIds: [id], topology: { nodes: [{ ID }] } }))),
    );
  }

  #claims({ claimed = [], pod, namespace = 'default' }: DoubleContainer): MessageInit<v1.DynamicResource>[] {
    if (claimed.length === 0) return [];
    const claimResources = claimed.map(([driverName, poolName, deviceName]) => ({ driverName, poolName, deviceName }));
    return [{ claimName: `${pod}-claim`, claimNamespace: namespace, claimResources }];
  }
}
