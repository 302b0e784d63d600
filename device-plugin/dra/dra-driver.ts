import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { identifyProcess } from '../../common/fs/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random, Timer } from '../../common/ports/index.ts';
import { type KubeAccess, KubeClient } from '../kube-api/index.ts';
import { Newest, type ResourceName, type Unsubscribe } from '../kubelet/index.ts';
import { CUFILE_FOLDER, HostNetAddresses, type HostPaths, type NetAddresses } from '../resources/index.ts';
import type { ClaimId } from './allocated-claim.ts';
import { claimCufile } from './claim-cufile.ts';
import { ClaimLock } from './claim-lock.ts';
import { type ClaimHolders, ClaimPreparer, hasClaims } from './claim-preparer.ts';
import type { ClaimablePool } from './claimable-pool.ts';
import { deviceHealth, REPEAT_MS } from './device-health.ts';
import { type DraDevice, draDevices } from './dra-device.ts';
import { ExtendedNames } from './extended-names.ts';
import { placesOf } from './gpu-places.ts';
import type { KeptSocket } from './kept-socket.ts';
import { kubeletSockets } from './kubelet-sockets.ts';
import type { HealthMessage } from './plugin-handlers.ts';
import { RESOURCE_API_PATH } from './resource-api.ts';
import { resourceSlices, type ServerFeatures } from './resource-slices.ts';
import { type PublisherLimits, SlicePublisher } from './slice-publisher.ts';

export type DraDriverOptions = {
  readonly nodeName: string;
  /** The kubelet's own folder, /var/lib/kubelet: it has to see our sockets at the same paths. */
  readonly kubeletDir: string;
  readonly paths: HostPaths;
  /** Where the API server is. Asked when it is first called, and again while that fails. */
  readonly access: () => Promise<KubeAccess>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly addresses?: NetAddresses;
  readonly limits?: Partial<DraLimits>;
};

export type DraLimits = {
  /** How often the sockets are looked at. */
  readonly lookMs: number;
  readonly maxCallMs: number;
  readonly publisher: Partial<PublisherLimits>;
};

export type DraState = {
  /** Whether the kubelet said that it took the driver, since the sockets were made. */
  readonly isRegistered: boolean;
  /** Whether the API server has our devices as they are. */
  readonly isPublished: boolean;
  /** Why not, as it was logged. */
  readonly cause: string | undefined;
  readonly features: ServerFeatures | undefined;
};

const LIMITS: DraLimits = { lookMs: 2000, maxCallMs: 40_000, publisher: {} };
/** The kubelet gives a call 45 s (Kubernetes 1.36, pkg/kubelet/cm/dra/plugin, defaultClientCallTimeout). */
const FETCH_MS = 15_000;
/** A driver that is served nothing for so long has nothing. */
const FIRST_SERVE_MS = 5000;

/**
 * This node's devices for claims (resource.k8s.io/v1): published as ResourceSlices, prepared when the kubelet asks, with
 * their health. Resources come and go while it runs. It starts, and ends claims, without the API server.
 */
export class DraDriver {
  readonly #options: DraDriverOptions;
  readonly #limits: DraLimits;
  readonly #logger: Logger;
  readonly #pools = new Map<ResourceName, ClaimablePool>();
  readonly #subscriptions = new Map<ResourceName, Unsubscribe>();
  readonly #holderListeners = new Set<() => void>();
  readonly #health: Newest<HealthMessage>;
  #parts: Parts | undefined;
  #isRegistered = false;
  #repeat: Timer | undefined;
  #first: Timer | undefined;
  #change: NodeJS.Immediate | undefined;

  constructor(options: DraDriverOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#logger = options.logger.child({ component: 'dra' });
    this.#health = new Newest(deviceHealth([], options.nodeName, options.clock.nowMs()));
  }

  /**
   * Whether claims hold something from before: then the driver has to be there until they end, whatever the configuration
   * says, because nobody else can end them.
   */
  static async isNeeded({ stateDir }: Pick<HostPaths, 'stateDir'>): Promise<boolean> {
    return await hasClaims(stateDir);
  }

  /** Throws PATH_UNUSABLE where the state cannot be read, ALREADY_EXISTS while another process has it. */
  async start(): Promise<void> {
    const lock = await ClaimLock.take(this.#options.paths.stateDir);
    try {
      await this.#startWith(lock);
    } catch (err) {
      await lock.release();
      throw err;
    }
  }

  async #startWith(lock: ClaimLock): Promise<void> {
    const client = new KubeClient(this.#options.access);
    const preparer = await this.#makePreparer(client);
    await preparer.start();
    const { nodeName, clock, random } = this.#options;
    const logger = this.#logger;
    const publisher = new SlicePublisher({
      client,
      nodeName,
      wanted: (features) => resourceSlices(this.#devices(), { nodeName, features, generation: 0 }),
      clock,
      random,
      logger,
      limits: this.#limits.publisher,
    });
    const names = new ExtendedNames({ client, clock, random, logger });
    const sockets = this.#makeSockets(preparer, publisher);
    this.#parts = { lock, client, preparer, publisher, names, sockets };
    // The service before its registration: a kubelet that has read one dials the other.
    for (const socket of sockets) await socket.start();
    names.start();
    this.#repeatHealth();
    // Resources are served after this. Until then there is no telling what the node has, and an empty pool would be wrong.
    if (this.#pools.size > 0) publisher.start();
    else this.#first = clock.setTimer(() => publisher.start(), FIRST_SERVE_MS, { background: true });
  }

  /** What a resource has is for claims from now on; one of the same name that was served before is replaced. */
  serve(pool: ClaimablePool): void {
    const { resource } = pool.pool;
    this.#subscriptions.get(resource)?.();
    this.#pools.set(resource, pool);
    this.#subscriptions.set(
      resource,
      pool.pool.watch(() => this.#onChange()),
    );
    this.#onChange();
  }

  /** Nothing of it is given out any more. What claims hold stays theirs until they end. */
  async withdraw(resource: ResourceName): Promise<void> {
    this.#subscriptions.get(resource)?.();
    this.#subscriptions.delete(resource);
    if (this.#pools.delete(resource)) this.#onChange();
  }

  /** What claims hold now. Before `start` nobody knows. */
  get holders(): ClaimHolders {
    return this.#parts?.preparer.holders ?? { devices: new Set(), isComplete: false };
  }

  /** The listener hears that claims hold something else now. */
  watchHolders(listener: () => void): Unsubscribe {
    this.#holderListeners.add(listener);
    return () => this.#holderListeners.delete(listener);
  }

  /** Names of resources that a DeviceClass maps, and the class: the device plugin of this node must not register them. */
  get mappedNames(): ReadonlyMap<string, string> {
    return this.#parts?.names.names ?? new Map();
  }

  /** To be called after `start`. */
  watchMappedNames(listener: () => void): Unsubscribe {
    return this.#parts?.names.watch(listener) ?? (() => undefined);
  }

  get state(): DraState {
    const publisher = this.#parts?.publisher;
    return {
      isRegistered: this.#isRegistered,
      isPublished: publisher?.isPublished ?? false,
      cause: publisher?.cause,
      features: publisher?.features,
    };
  }

  /** Takes the sockets away and stops publishing. The slices stay: the kubelet removes them when nobody comes back. */
  async close(): Promise<void> {
    if (this.#change !== undefined) clearImmediate(this.#change);
    this.#repeat?.cancel();
    this.#first?.cancel();
    for (const unsubscribe of this.#subscriptions.values()) unsubscribe();
    this.#subscriptions.clear();
    this.#holderListeners.clear();
    const parts = this.#parts;
    this.#parts = undefined;
    if (parts === undefined) return;
    await Promise.all([...parts.sockets.map((socket) => socket.close()), parts.publisher.close(), parts.names.close()]);
    parts.client.close();
    await parts.lock.release();
  }

  async #makePreparer(client: KubeClient): Promise<ClaimPreparer> {
    const { nodeName, paths } = this.#options;
    const addresses = this.#options.addresses ?? new HostNetAddresses(paths.roots.sysfsRoot);
    const bootId = (await identifyProcess(process.pid))?.bootId ?? '';
    return new ClaimPreparer({
      paths,
      poolName: nodeName,
      pools: this.#pools,
      fetchClaim: (id, deadline) => fetchClaim(client, id, deadline),
      cufile: claimCufile({
        addresses,
        placesOf: (others, deadline) => placesOf(others, nodeName, client, deadline),
      }),
      cufileFolder: CUFILE_FOLDER,
      bootId,
      logger: this.#logger,
      onChange: () => {
        for (const listener of [...this.#holderListeners]) listener();
      },
    });
  }

  #makeSockets(preparer: ClaimPreparer, publisher: SlicePublisher): readonly KeptSocket[] {
    const { kubeletDir, clock, random } = this.#options;
    const { lookMs, maxCallMs } = this.#limits;
    return kubeletSockets({
      kubeletDir,
      preparer,
      health: (signal) => this.#health.follow(signal),
      onStatus: (error) => this.#onStatus(error, publisher),
      onListening: () => {
        this.#isRegistered = false;
      },
      socket: { clock, random, logger: this.#logger, lookMs, maxCallMs },
    });
  }

  #onStatus(error: string | undefined, publisher: SlicePublisher): void {
    this.#isRegistered = error === undefined;
    if (error === undefined) this.#logger.info('registered with the kubelet');
    else this.#logger.error('the kubelet refuses the driver', { reason: error });
    // A kubelet that starts deletes all slices of its node.
    publisher.poke();
  }

  #devices(): readonly DraDevice[] {
    return [...this.#pools.values()].flatMap(draDevices);
  }

  /** Many changes in one turn of the event loop are one. */
  #onChange(): void {
    this.#change ??= setImmediate(() => {
      this.#change = undefined;
      this.#tellHealth();
      this.#parts?.publisher.poke();
      if (this.#pools.size > 0) this.#parts?.publisher.start();
    });
  }

  #tellHealth(): void {
    this.#health.set(deviceHealth(this.#devices(), this.#options.nodeName, this.#options.clock.nowMs()));
  }

  #repeatHealth(): void {
    const again = (): void => {
      if (this.#health.waiting > 0) this.#tellHealth();
      this.#repeat = this.#options.clock.setTimer(again, REPEAT_MS, { background: true });
    };
    again();
  }
}

type Parts = {
  readonly lock: ClaimLock;
  readonly client: KubeClient;
  readonly preparer: ClaimPreparer;
  readonly publisher: SlicePublisher;
  readonly names: ExtendedNames;
  readonly sockets: readonly KeptSocket[];
};

async function fetchClaim(client: KubeClient, { namespace, name }: ClaimId, deadline: Deadline): Promise<unknown> {
  if (namespace === '' || name === '') {
    throw NabuError.of('INVALID_ARGUMENT', { field: 'claim', reason: 'it needs a namespace and a name' });
  }
  const path = `${RESOURCE_API_PATH}/namespaces/${encodeURIComponent(namespace)}/resourceclaims/${encodeURIComponent(name)}`;
  using limit: Deadline = deadline.within(`GET ${path}`, FETCH_MS);
  return await client.call({ method: 'GET', path, deadline: limit });
}
