import { isAbsolute, join } from 'node:path';
import { NabuError } from '../../common/errors/index.ts';
import { parseAddress } from '../../common/grpc/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import type { DevicePool } from './device-pool.ts';
import { KubeletFolder } from './kubelet-folder.ts';
import { type KubeletObserver, NO_OBSERVER } from './observer.ts';
import { endpointOf, type ResourceName } from './resource-name.ts';
import { ResourceServer, type ResourceServerLimits, type ResourceState } from './resource-server.ts';

export type KubeletPluginOptions = {
  /** The kubelet's folder of device plugins, /var/lib/kubelet/device-plugins on every node whose kubelet is not told otherwise. */
  readonly folder: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** How often the folder is looked at while there is none or it cannot be watched. */
  readonly pollMs?: number;
  readonly limits?: Partial<ResourceServerLimits>;
  readonly observer?: KubeletObserver;
};

const POLL_MS = 500;

const LIMITS: ResourceServerLimits = {
  maxMessageBytes: 4 << 20, // what gRPC clients in Go take by default, the kubelet among them
  maxCallMs: 30_000,
  registerTimeoutMs: 15_000, // the kubelet dials for 10 s before it answers
  dialBackMs: 5000,
  backoff: { firstMs: 50, mostMs: 1000 },
};

/** Resources of this node before the kubelet, each on a socket of its own. Pools come and go while it runs. */
export class KubeletPlugin {
  readonly #options: KubeletPluginOptions;
  readonly #limits: ResourceServerLimits;
  readonly #logger: Logger;
  readonly #folder: KubeletFolder;
  readonly #servers = new Map<ResourceName, ResourceServer>();

  /** Throws INVALID_ARGUMENT when the folder is not an absolute path. */
  constructor(options: KubeletPluginOptions) {
    const { folder: path, clock } = options;
    if (!isAbsolute(path)) {
      throw NabuError.of('INVALID_ARGUMENT', { field: 'kubelet folder', reason: `${path} is not an absolute path` });
    }
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#logger = options.logger.child({ component: 'kubelet' });
    this.#folder = new KubeletFolder({ path, clock, logger: this.#logger, pollMs: options.pollMs ?? POLL_MS });
  }

  /** Resolves when the folder is watched. Neither it nor the kubelet needs to be there. */
  async start(): Promise<void> {
    await this.#folder.start();
  }

  /**
   * Serves a pool and registers it, for ever, until it is withdrawn. Throws ALREADY_EXISTS while another pool of this
   * resource is served, INVALID_ARGUMENT when the socket's path is too long or the pool breaks its promises,
   * MESSAGE_TOO_LARGE when it has more devices than one message takes.
   */
  serve(pool: DevicePool): void {
    const { resource } = pool;
    if (this.#servers.has(resource)) {
      throw NabuError.of('ALREADY_EXISTS', { kind: 'resource', id: resource, reason: 'it is served' });
    }
    parseAddress(`unix:${join(this.#folder.path, endpointOf(resource))}`);
    const { clock, random, observer = NO_OBSERVER } = this.#options;
    const parts = { pool, folder: this.#folder, clock, random, logger: this.#logger, limits: this.#limits, observer };
    const server = new ResourceServer(parts);
    this.#servers.set(resource, server);
    server.start();
  }

  /** Resolves when its streams have ended and its socket is gone; at once when it is not served. */
  async withdraw(resource: ResourceName): Promise<void> {
    await this.#servers.get(resource)?.close();
    this.#servers.delete(resource);
  }

  /** Undefined when it is not served. */
  state(resource: ResourceName): ResourceState | undefined {
    return this.#servers.get(resource)?.state;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#servers.keys()].map((resource) => this.withdraw(resource)));
    await this.#folder.close();
  }
}
