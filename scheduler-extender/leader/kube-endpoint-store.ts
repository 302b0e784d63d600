import { isIPv6 } from 'node:net';
import type { CoreV1Api, DiscoveryV1Api, V1EndpointSlice } from '@kubernetes/client-node';
import { raceAbort } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { kubeConfigOf, objectName } from '../kube-access/index.ts';
import type { EndpointStore } from './answering-endpoint.ts';

export type KubeEndpointOptions = {
  /** A path; '' as the pod that this process runs in. */
  readonly kubeconfig: string;
  /** NAMESPACE/NAME of a Service without a selector. */
  readonly service: string;
  /** Where this process is reached, an IP address. */
  readonly address: string;
  /** By the names of the Service's ports. */
  readonly ports: Readonly<Record<string, number>>;
};

const MANAGED_BY = 'nabu-scheduler-extender';

const codeOf = (err: unknown): unknown => Reflect.get(Object(err), 'code');

async function asked(call: Promise<void>, signal: AbortSignal): Promise<void> {
  try {
    await raceAbort(call, signal, 'leading a Service');
  } catch (err) {
    if (NabuError.is(err)) throw err;
    const code = codeOf(err);
    const reason = typeof code === 'number' ? `status ${code}` : 'the connection failed';
    throw NabuError.of('UNAVAILABLE', { target: 'the API server', reason }, { cause: err });
  }
}

/** The EndpointSlice of a Service, with one endpoint in it (Kubernetes, discovery.k8s.io/v1). */
export class KubeEndpointStore implements EndpointStore {
  readonly #core: CoreV1Api;
  readonly #discovery: DiscoveryV1Api;
  readonly #namespace: string;
  readonly #name: string;
  readonly #options: KubeEndpointOptions;

  private constructor(
    apis: { core: CoreV1Api; discovery: DiscoveryV1Api },
    [namespace, name]: readonly [string, string],
    options: KubeEndpointOptions,
  ) {
    this.#core = apis.core;
    this.#discovery = apis.discovery;
    this.#namespace = namespace;
    this.#name = name;
    this.#options = options;
  }

  /** Throws CONFIG_INVALID. */
  static async open(options: KubeEndpointOptions): Promise<KubeEndpointStore> {
    const { service, kubeconfig } = options;
    const { namespace, name } = objectName('service', service);
    const library = await import('@kubernetes/client-node');
    const config = kubeConfigOf(library, kubeconfig);
    const core = config.makeApiClient(library.CoreV1Api);
    return new KubeEndpointStore(
      { core, discovery: config.makeApiClient(library.DiscoveryV1Api) },
      [namespace, name],
      options,
    );
  }

  async write(signal: AbortSignal): Promise<void> {
    await asked(this.#write(), signal);
  }

  async clear(signal: AbortSignal): Promise<void> {
    await asked(this.#clear(), signal);
  }

  /** Nobody does, whoever is named. */
  async cut(signal: AbortSignal): Promise<void> {
    await asked(this.#empty(), signal);
  }

  async #write(): Promise<void> {
    const [namespace, name] = [this.#namespace, this.#name];
    const found = await this.#read();
    const slice = await this.#slice();
    if (found === undefined) {
      await this.#discovery.createNamespacedEndpointSlice({ namespace, body: slice });
      return;
    }
    const resourceVersion = found.metadata?.resourceVersion ?? '';
    const body = { ...slice, metadata: { ...slice.metadata, resourceVersion } };
    await this.#discovery.replaceNamespacedEndpointSlice({ namespace, name, body });
  }

  async #clear(): Promise<void> {
    await this.#empty(this.#options.address);
  }

  /** `address`: unless another one is named. */
  async #empty(address?: string): Promise<void> {
    const [namespace, name] = [this.#namespace, this.#name];
    const found = await this.#read();
    const named = found?.endpoints?.[0]?.addresses[0];
    if (found === undefined || named === undefined || (address !== undefined && named !== address)) return;
    await this.#discovery.replaceNamespacedEndpointSlice({ namespace, name, body: { ...found, endpoints: [] } });
  }

  async #read(): Promise<V1EndpointSlice | undefined> {
    const [namespace, name] = [this.#namespace, this.#name];
    return await this.#discovery.readNamespacedEndpointSlice({ namespace, name }).catch((err: unknown) => {
      if (codeOf(err) === 404) return undefined;
      throw err;
    });
  }

  async #slice(): Promise<V1EndpointSlice> {
    const [namespace, name] = [this.#namespace, this.#name];
    const { address, ports } = this.#options;
    const { metadata } = await this.#core.readNamespacedService({ namespace, name });
    return {
      metadata: {
        name,
        namespace,
        labels: { 'kubernetes.io/service-name': name, 'endpointslice.kubernetes.io/managed-by': MANAGED_BY },
        // It goes when the Service does.
        ownerReferences: [{ apiVersion: 'v1', kind: 'Service', name, uid: metadata?.uid ?? '' }],
      },
      addressType: isIPv6(address) ? 'IPv6' : 'IPv4',
      endpoints: [{ addresses: [address], conditions: { ready: true } }],
      ports: Object.entries(ports).map(([port, number]) => ({ name: port, port: number, protocol: 'TCP' })),
    };
  }
}
