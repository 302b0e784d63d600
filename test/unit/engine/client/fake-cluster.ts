import { Deadline } from '../../../../common/concurrency/index.ts';
import { NabuError } from '../../../../common/errors/index.ts';
import { silentLogger } from '../../../../common/logging/index.ts';
import { type Clock, SeededRandom } from '../../../../common/ports/index.ts';
import type { BlobKey, NodeId } from '../../../../engine/blob/index.ts';
import { BlobClient, type NodeConnector, type NodeLink } from '../../../../engine/client/index.ts';
import type { ClusterMap, MapNode, MapSource } from '../../../../engine/placement/index.ts';
import { Slab } from '../../../../engine/slab/index.ts';
import { sampleMap, sampleNodes } from '../placement/sample-map.ts';
import { FakeNode } from './fake-node.ts';

export class FakeMaps implements MapSource {
  #map: ClusterMap;
  readonly #listeners = new Set<(map: ClusterMap) => void>();

  constructor(map: ClusterMap) {
    this.#map = map;
  }

  current(): ClusterMap {
    return this.#map;
  }

  onChange(listener: (map: ClusterMap) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  set(map: ClusterMap): void {
    this.#map = map;
    for (const listener of this.#listeners) listener(map);
  }
}

const SLAB = Slab.create({ sizeBytes: 64 << 20, hugePages: 'no' });

/** Nodes in this process, and a client that reaches them. */
export class FakeCluster implements NodeConnector {
  readonly slab = SLAB;
  readonly slotsBefore = SLAB.slots;
  readonly nodes = new Map<NodeId, FakeNode>();
  readonly maps: FakeMaps;
  readonly client: BlobClient;
  readonly #clock: Clock;

  constructor(count: number, clock: Clock, seed = 1) {
    this.#clock = clock;
    this.maps = new FakeMaps(sampleMap(sampleNodes(count)));
    this.client = this.newClient(seed);
  }

  newClient(seed = 1): BlobClient {
    return new BlobClient({
      slab: this.slab,
      transport: this,
      maps: this.maps,
      clock: this.#clock,
      random: new SeededRandom(seed),
      logger: silentLogger,
      limits: { firstRetryMs: 10, lastRetryMs: 100, probeTimeoutMs: 500, connectTimeoutMs: 500 },
    });
  }

  node(id: NodeId): FakeNode {
    let node = this.nodes.get(id);
    if (node === undefined) {
      node = new FakeNode(id, this.slab, this.#clock);
      this.nodes.set(id, node);
    }
    return node;
  }

  all(): FakeNode[] {
    return this.maps.current().nodes.map(({ id }) => this.node(id));
  }

  holders(key: BlobKey): FakeNode[] {
    return this.all().filter((node) => node.shardsOf(key).length > 0);
  }

  async connect({ id }: MapNode): Promise<NodeLink> {
    const node = this.node(id);
    if (node.dead) throw NabuError.of('UNAVAILABLE', { target: `node ${id}`, reason: 'connection refused' });
    const closed = Promise.withResolvers<Error | undefined>();
    node.broken.then(closed.resolve);
    return { client: node, closed: closed.promise, close: () => closed.resolve(undefined) };
  }

  deadline(timeoutMs = 30_000): Deadline {
    return new Deadline({ clock: this.#clock, operation: 'test', timeoutMs });
  }

  close(): void {
    this.client.close();
  }
}
