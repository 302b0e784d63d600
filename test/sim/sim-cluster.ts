import { silentLogger } from '../../common/logging/index.ts';
import type { Clock, SeededRandom } from '../../common/ports/index.ts';
import { hexOf, type NodeId, nodeId, stampOfMs } from '../../engine/blob/index.ts';
import { BlobClient, type BlobStore } from '../../engine/client/index.ts';
import { NodeMap, StorNode } from '../../engine/node/index.ts';
import { type ClusterMap, parseClusterMap } from '../../engine/placement/index.ts';
import type { Slab } from '../../engine/slab/index.ts';
import { ClientHomeNodes } from '../../engine/volume/client-home-nodes.ts';
import type { HomeNodes } from '../../engine/volume/home-nodes.ts';
import { ModelClient } from './model-client.ts';
import { blankDisk, type SimDisk } from './sim-disk.ts';
import { SimNetwork } from './sim-network.ts';
import { SimStore } from './sim-store.ts';

/** What one simulated host has of the cluster. */
export type SimClient = { readonly blobs: BlobStore; readonly nodes: HomeNodes };

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
  /** Complete peers whose fences an emptied node copies before it takes log blobs. */
  readonly takeoverPeers: number;
};

const CLUSTER_ID = new Uint8Array(16).fill(7);
const TAKEOVER_RETRY_MS = 50;

/** Storage nodes under a seed that crash, restart and lose their devices. */
export class SimCluster {
  readonly nodes: readonly NodeId[];
  readonly network: SimNetwork;
  readonly #options: SimClusterOptions;
  readonly #disks = new Map<NodeId, SimDisk>();
  readonly #stores = new Map<NodeId, SimStore>();
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

  client(name: string): SimClient {
    const { slab, clock, random, stack } = this.#options;
    if (stack === 'real') return this.#realClient(name);
    const client = new ModelClient({
      name,
      slab,
      clock,
      random: random.fork(),
      network: this.network,
      storeOf: (node) => this.#stores.get(node),
    });
    return { blobs: client, nodes: client };
  }

  #realClient(name: string): SimClient {
    const { slab, clock, random } = this.#options;
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
    return { blobs, nodes: new ClientHomeNodes(blobs.nodes()) };
  }

  /** Ends what the hosts' clients still try. */
  close(): void {
    for (const client of this.#clients) client.close();
  }

  isUp(node: NodeId): boolean {
    return this.#stores.has(node);
  }

  get up(): readonly NodeId[] {
    return this.nodes.filter((node) => this.isUp(node));
  }

  crash(node: NodeId): void {
    this.#stores.get(node)?.crash();
    this.#stores.delete(node);
    this.network.crash(node);
  }

  start(node: NodeId): void {
    const disk = this.#disks.get(node);
    if (disk === undefined || this.#stores.has(node)) return;
    const { slab, clock, random, flushMs = 3, setOwnerMs = 3 } = this.#options;
    const store = new SimStore({
      slab: slab.buffer,
      disk,
      nodeId: node,
      clusterId: CLUSTER_ID,
      clock,
      random: random.fork(),
      flushMs,
      setOwnerMs,
    });
    this.#stores.set(node, store);
    if (this.#options.stack === 'real') {
      const map = new NodeMap(this.#map);
      const stor = new StorNode({ store, slab, map, clock, logger: silentLogger });
      // Resolves at once: the simulated network has no sockets to open.
      void this.network.transport(node).listen({ host: node, port: 1 }, stor.handle, stor.hello);
    }
    if (!disk.fencesComplete) void this.#takeOverFences(node, store);
  }

  /** The node comes back with a new, blank device. */
  empty(node: NodeId): void {
    this.crash(node);
    this.#disks.set(node, blankDisk(this.#incarnations++, stampOfMs(this.#options.clock.nowMs()), false));
    this.start(node);
  }

  /** As docs/decisions/fence-takeover.md has it. */
  async #takeOverFences(node: NodeId, store: SimStore): Promise<void> {
    const copied = new Set<NodeId>();
    while (this.#stores.get(node) === store && copied.size < this.#options.takeoverPeers) {
      await this.#options.clock.sleep(TAKEOVER_RETRY_MS);
      for (const peer of this.nodes) {
        const other = this.#stores.get(peer);
        const usable = other?.identity.fencesComplete === true && !this.network.isCut(node, peer) && !copied.has(peer);
        if (other === undefined || !usable) continue;
        for (const [owner, state] of other.listOwners(undefined, 1024))
          await store.setOwner(owner, state).catch(() => undefined);
        copied.add(peer);
      }
    }
    if (this.#stores.get(node) === store) await store.setFencesComplete().catch(() => undefined);
  }
}
