import { silentLogger } from '../../common/logging/index.ts';
import type { Clock, SeededRandom } from '../../common/ports/index.ts';
import { hexOf, type NodeId, nodeId, stampOfMs, type VolumeId } from '../../engine/blob/index.ts';
import { BlobClient, type BlobStore } from '../../engine/client/index.ts';
import { FenceTakeover, NodeMap, StorNode } from '../../engine/node/index.ts';
import { type ClusterMap, parseClusterMap } from '../../engine/placement/index.ts';
import { clientHello, RemoteNode } from '../../engine/protocol/index.ts';
import type { Slab } from '../../engine/slab/index.ts';
import type { OwnerState } from '../../engine/store/index.ts';
import { ClientHomeNodes } from '../../engine/volume/client-home-nodes.ts';
import type { HomeNodes } from '../../engine/volume/home-nodes.ts';
import { ModelClient } from './model-client.ts';
import { blankDisk, type SimDisk } from './sim-disk.ts';
import { aheadOf } from './sim-host-clock.ts';
import { SimNetwork } from './sim-network.ts';
import { SimStore } from './sim-store.ts';

/** What one simulated host has of the cluster. */
export type SimClient = { readonly blobs: BlobStore; readonly nodes: HomeNodes; readonly aheadMs: number };

export type SimClusterOptions = {
  /**
   * model: hosts call the stores by the write rules alone, fast enough for thousands of schedules. real: the blob client, the wire
   * calls and the node's request handling, over the simulated transport.
   */
  readonly stack: 'model' | 'real';
  readonly nodes: number;
  readonly slab: Slab;
  readonly clock: Clock;
  readonly random: SeededRandom;
  readonly maxDelayMs?: number;
  readonly lossRate?: number;
  readonly flushMs?: number;
  /** Longest time that a fence or a note takes. */
  readonly setOwnerMs?: number;
  /** Stores check what they read. Default true. */
  readonly verifies?: boolean;
  /** The highest m in use: how many peers' fences an emptied node copies before it takes log blobs follows from it. */
  readonly maxParity: number;
};

const CLUSTER_ID = new Uint8Array(16).fill(7);
const TAKEOVER_PEER_MS = 400;
const SET_OWNER_MS = 3;

/** Storage nodes under a seed that crash, restart and lose their devices. */
export class SimCluster {
  readonly nodes: readonly NodeId[];
  readonly network: SimNetwork;
  readonly #options: SimClusterOptions;
  readonly #disks = new Map<NodeId, SimDisk>();
  readonly #stores = new Map<NodeId, SimStore>();
  readonly #takeovers = new Map<NodeId, AbortController>();
  readonly #slowFences = new Map<NodeId, number>();
  readonly #clients: BlobClient[] = [];
  readonly #map: ClusterMap;
  #incarnations = 1n;

  constructor(options: SimClusterOptions) {
    this.#options = options;
    this.nodes = Array.from({ length: options.nodes }, (_, at) => nodeId(`n${at + 1}`));
    this.network = new SimNetwork({
      ...options,
      random: options.random.fork(),
      maxDelayMs: options.maxDelayMs ?? 5,
      lossRate: options.lossRate ?? 0.01,
    });
    this.#map = parseClusterMap(
      {
        clusterId: hexOf(CLUSTER_ID),
        epoch: 1,
        nodes: this.nodes.map((id) => ({
          id,
          address: { host: id, port: 1 },
          domain: { zone: 'default', rack: 'default', host: id },
          weight: 1,
          state: 'up',
        })),
      },
      'simulated map',
    );
    for (const node of this.nodes) {
      this.#disks.set(node, blankDisk(this.#incarnations++, 0n, true));
      this.start(node);
    }
  }

  /** `aheadMs`: of the host's wall clock, behind the others' when negative. */
  client(name: string, aheadMs = 0): SimClient {
    const { slab, clock, random, stack } = this.#options;
    if (stack === 'real') {
      const blobs = this.blobClient(name, aheadMs);
      return { blobs, nodes: new ClientHomeNodes(blobs.nodes()), aheadMs };
    }
    const client = new ModelClient({
      name,
      slab,
      clock: aheadOf(clock, aheadMs),
      random: random.fork(),
      network: this.network,
      storeOf: (node) => this.#stores.get(node),
    });
    return { blobs: client, nodes: client, aheadMs };
  }

  /** The real client. Its host's wall clock may be ahead of the others', or behind. */
  blobClient(name: string, aheadMs = 0): BlobClient {
    const { slab, random } = this.#options;
    const clock = aheadOf(this.#options.clock, aheadMs);
    const blobs = new BlobClient({
      slab,
      transport: this.network.transport(name),
      maps: { current: () => this.#map, onChange: () => () => undefined },
      clock,
      random: random.fork(),
      logger: silentLogger,
      label: name,
      limits: { connectTimeoutMs: 300, stallMs: 500, probeTimeoutMs: 300, firstRetryMs: 10, lastRetryMs: 100 },
    });
    this.#clients.push(blobs);
    return blobs;
  }

  /** Ends what the hosts' clients still try. */
  close(): void {
    for (const client of this.#clients) client.close();
    for (const takeover of this.#takeovers.values()) takeover.abort();
  }

  isUp(node: NodeId): boolean {
    return this.#stores.has(node);
  }

  get up(): readonly NodeId[] {
    return this.nodes.filter((node) => this.isUp(node));
  }

  /** What lies on the node's device, for schedules that wait for it. */
  ownerOn(node: NodeId, owner: VolumeId): OwnerState | undefined {
    return this.diskOf(node).owners.get(owner);
  }

  /** The node's device, for schedules that look at it or harm it. */
  diskOf(node: NodeId): SimDisk {
    const disk = this.#disks.get(node);
    if (disk === undefined) throw new RangeError(`no node ${node}`);
    return disk;
  }

  /** Blobs of which the node's device has something. */
  blobsOn(node: NodeId): number {
    return this.diskOf(node).records.size;
  }

  /** Fences and notes take up to this long on the node, while it is otherwise as quick as ever; until quicken(). */
  slowFences(node: NodeId, byMs: number): void {
    this.#slowFences.set(node, byMs);
    const store = this.#stores.get(node);
    if (store !== undefined) store.setOwnerMs = byMs;
  }

  quicken(): void {
    this.#slowFences.clear();
    for (const store of this.#stores.values()) store.setOwnerMs = this.#options.setOwnerMs ?? SET_OWNER_MS;
  }

  crash(node: NodeId): void {
    this.#takeovers.get(node)?.abort();
    this.#stores.get(node)?.crash();
    this.#stores.delete(node);
    this.network.crash(node);
  }

  start(node: NodeId): void {
    const disk = this.#disks.get(node);
    if (disk === undefined || this.#stores.has(node)) return;
    const { slab, clock, random, flushMs = 3, setOwnerMs = SET_OWNER_MS } = this.#options;
    const store = new SimStore({
      slab: slab.buffer,
      disk,
      nodeId: node,
      clusterId: CLUSTER_ID,
      clock,
      random: random.fork(),
      flushMs,
      setOwnerMs: this.#slowFences.get(node) ?? setOwnerMs,
      verifies: this.#options.verifies ?? true,
    });
    this.#stores.set(node, store);
    const map = new NodeMap(this.#map);
    const stor = new StorNode({ store, slab, map, clock, logger: silentLogger });
    // Resolves at once: the simulated network has no sockets to open.
    void this.network.transport(node).listen({ host: node, port: 1 }, stor.handle, stor.hello);
    if (!disk.fencesComplete) this.#takeOverFences(node, store, map);
  }

  /** The node comes back with a new, blank device. */
  empty(node: NodeId): void {
    this.crash(node);
    this.#disks.set(node, blankDisk(this.#incarnations++, stampOfMs(this.#options.clock.nowMs()), false));
    this.start(node);
  }

  /** As docs/decisions/fence-takeover.md has it. */
  #takeOverFences(node: NodeId, store: SimStore, map: NodeMap): void {
    const { clock, random, maxParity } = this.#options;
    const transport = this.network.transport(node);
    const takeover = new FenceTakeover({
      store,
      map,
      clock,
      random: random.fork(),
      logger: silentLogger,
      maxParity,
      peerTimeoutMs: TAKEOVER_PEER_MS,
      connect: async (peer, deadline) => {
        const hello = clientHello(hexOf(CLUSTER_ID), peer.id, node);
        const connection = await transport.connect(peer.address, hello, { deadline });
        return { client: new RemoteNode(connection), close: () => connection.close() };
      },
    });
    const stop = new AbortController();
    this.#takeovers.set(node, stop);
    void takeover.run(stop.signal);
  }
}
