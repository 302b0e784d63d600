import { GrpcClient } from '../../common/grpc/index.ts';
import { services } from '../../proto/gen/kubelet.js';
import type { DevicePool } from './device-pool.ts';
import { endpointOf } from './resource-name.ts';

/** Device plugin API v1beta1, constants.go: Version. */
const API_VERSION = 'v1beta1';

/** Shorter than the pauses between attempts come to be, so that a kubelet that is back is found by the next. */
const MAX_RECONNECT_MS = 250;

export type RegisterOptions = { readonly timeoutMs: number; readonly signal: AbortSignal };

/** Asks kubelets, one after the other on one path, to register one resource. */
export class Registration {
  readonly #pool: Pick<DevicePool, 'resource' | 'options'>;
  readonly #kubeletSocket: string;
  /** Did not get a connection, and would make one after it was closed. */
  #failing: GrpcClient | undefined;

  constructor(pool: Pick<DevicePool, 'resource' | 'options'>, kubeletSocket: string) {
    this.#pool = pool;
    this.#kubeletSocket = kubeletSocket;
  }

  /**
   * Tells the kubelet about the resource, whose socket is there already: the kubelet dials back and asks for the options
   * before it answers, for at most 10 s (Kubernetes, pkg/kubelet/cm/devicemanager/plugin/v1beta1: Register, connectClient,
   * dial). Throws what the kubelet answered, UNAVAILABLE where nobody listens, TIMEOUT, or the signal's reason.
   */
  async register({ timeoutMs, signal }: RegisterOptions): Promise<void> {
    const { resource, options } = this.#pool;
    // A connection of its own for each attempt: one to the kubelet before has nothing to say to this one.
    const client = this.#failing ?? this.#connect();
    this.#failing = undefined;
    try {
      await client
        .service(services['v1beta1.Registration'])
        .register(
          { version: API_VERSION, endpoint: endpointOf(resource), resourceName: resource, options },
          { timeoutMs, signal },
        );
    } finally {
      if (client.isFailing) this.#failing = client;
      else client.close();
    }
  }

  close(): void {
    this.#failing?.close();
    this.#failing = undefined;
  }

  #connect(): GrpcClient {
    return new GrpcClient({ address: { kind: 'unix', path: this.#kubeletSocket }, maxReconnectMs: MAX_RECONNECT_MS });
  }
}
