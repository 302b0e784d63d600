import { GrpcClient } from '../../common/grpc/index.ts';
import { services } from '../../proto/gen/services.js';
import type { DevicePool } from './device-pool.ts';
import { endpointOf } from './resource-name.ts';

/** Device plugin API v1beta1, constants.go: Version. */
const API_VERSION = 'v1beta1';

export type RegistrationOptions = {
  readonly pool: Pick<DevicePool, 'resource' | 'options'>;
  readonly kubeletSocket: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
};

/**
 * Tells the kubelet about a resource whose socket is there already: it dials back and asks for the options before it
 * answers, and for at most 10 s (Kubernetes, pkg/kubelet/cm/devicemanager/plugin/v1beta1: Register, connectClient, dial).
 * Throws what the kubelet answered, UNAVAILABLE where nobody listens, TIMEOUT, or the signal's reason.
 */
export async function register({ pool, kubeletSocket, timeoutMs, signal }: RegistrationOptions): Promise<void> {
  const { resource, options } = pool;
  // A connection of its own for each attempt: one to the kubelet before has nothing to say to this one.
  const client = new GrpcClient({ address: { kind: 'unix', path: kubeletSocket } });
  try {
    await client
      .service(services['v1beta1.Registration'])
      .register(
        { version: API_VERSION, endpoint: endpointOf(resource), resourceName: resource, options },
        { timeoutMs, signal },
      );
  } finally {
    client.close();
  }
}
