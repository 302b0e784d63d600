import { GrpcServer, type SocketAddress } from '../../common/grpc/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import { services } from '../../proto/gen/services.js';
import { parsePolicy } from '../blob/index.ts';
import type { ClusterMap } from '../placement/index.ts';
import { Membership } from './membership.ts';
import type { ResourceStore } from './resource-store.ts';
import { controlHandlers } from './service.ts';
import type { VolumeReaper } from './volume-reaper.ts';
import { Volumes } from './volumes.ts';

export type ControlServerOptions = {
  /** Becomes the server's: closed with it. */
  readonly store: ResourceStore;
  /** Given the live map once it is known. */
  readonly reaper: (maps: {
    current(): ClusterMap;
    onChange(listener: (map: ClusterMap) => void): () => void;
  }) => VolumeReaper;
  readonly defaultPolicy: string;
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly allowRemote?: boolean;
};

/** Control in one process: its state, its gRPC service, and the background work of deletes. */
export class ControlServer {
  readonly membership: Membership;
  readonly volumes: Volumes;
  readonly #store: ResourceStore;
  readonly #grpc: GrpcServer;

  private constructor(store: ResourceStore, membership: Membership, volumes: Volumes, grpc: GrpcServer) {
    this.#store = store;
    this.membership = membership;
    this.volumes = volumes;
    this.#grpc = grpc;
  }

  /** Reads the state; listens nowhere yet. POLICY_UNKNOWN for a default policy that is none. */
  static async open(options: ControlServerOptions): Promise<ControlServer> {
    const { store, clock, random, logger, version } = options;
    const membership = await Membership.open(store, random, logger);
    const volumes = await Volumes.open({
      store,
      map: () => membership.current(),
      reaper: options.reaper(membership),
      defaultPolicy: parsePolicy(options.defaultPolicy).name,
      clock,
      random,
      logger,
    });
    const grpc = new GrpcServer({ logger, clock, allowRemote: options.allowRemote ?? false, maxStreams: 4096 });
    grpc.add(services['nabustore.v1.Control'], controlHandlers({ membership, volumes, clock, version }));
    return new ControlServer(store, membership, volumes, grpc);
  }

  /** Returns the address with the port that was chosen for port 0. */
  async listen(address: SocketAddress): Promise<SocketAddress> {
    return await this.#grpc.listen(address);
  }

  async close(graceMs = 2000): Promise<void> {
    await this.#grpc.close(graceMs);
    await this.volumes.close();
    await this.#store.close();
  }
}
