import { Deadline } from '../../common/concurrency/index.ts';
import { silentLogger } from '../../common/logging/index.ts';
import { realClock } from '../../common/ports/index.ts';
import { type BlobKey, blobKey, nodeId, roundUpToBlock, stripeId } from '../../engine/blob/index.ts';
import { crc32cBlocks } from '../../engine/ec/index.ts';
import { NodeMap, StorNode } from '../../engine/node/index.ts';
import { type ClusterMap, parseClusterMap } from '../../engine/placement/index.ts';
import {
  type CallOptions,
  clientHello,
  encodeShardMeta,
  type PutShard,
  RemoteNode,
  SHARD_KIND,
  type ShardMeta,
} from '../../engine/protocol/index.ts';
import { Slab, type Slot } from '../../engine/slab/index.ts';
import { openNativeStore, type ShardStore } from '../../engine/store/index.ts';
import { type Listener, payloadOf, TcpTransport } from '../../engine/transport/index.ts';

export const MEMORY_CLUSTER = 'c1'.repeat(16);
const MIB = 1024 * 1024;

export function mapOf(epoch: number, ids: readonly string[], ports: readonly number[] = []): ClusterMap {
  const nodes = ids.map((id, i) => ({
    id,
    address: { host: '127.0.0.1', port: ports[i] ?? 1 },
    domain: { zone: 'z', rack: 'r', host: id },
    weight: 1,
    state: 'up',
  }));
  return parseClusterMap({ clusterId: MEMORY_CLUSTER, epoch, nodes }, 'test');
}

export type MemoryNodeOptions = {
  readonly id?: string;
  readonly genesis?: boolean;
  readonly map?: ClusterMap;
  readonly limits?: { readonly maxRunning?: number; readonly maxWaiting?: number };
  readonly fences?: () => { readonly reason: string };
};

/** A storage node on a memory device, served over loopback, and a client of it with a slab of its own. */
export class MemoryNode implements AsyncDisposable {
  readonly clientSlab = Slab.create({ sizeBytes: 16 * MIB, hugePages: 'no' });
  readonly client: RemoteNode;
  readonly store: ShardStore;
  readonly slab: Slab;
  readonly map: NodeMap;
  readonly node: StorNode;
  readonly listener: Listener;
  readonly deadline: Deadline;

  private constructor(
    fields: Pick<MemoryNode, 'store' | 'slab' | 'map' | 'node' | 'listener' | 'deadline'>,
    client: RemoteNode,
    clientSlab: Slab,
  ) {
    this.store = fields.store;
    this.slab = fields.slab;
    this.map = fields.map;
    this.node = fields.node;
    this.listener = fields.listener;
    this.deadline = fields.deadline;
    this.client = client;
    this.clientSlab = clientSlab;
  }

  static async start(options: MemoryNodeOptions = {}): Promise<MemoryNode> {
    const id = options.id ?? 'node-1';
    const slab = Slab.create({ sizeBytes: 16 * MIB, hugePages: 'no' });
    const clientSlab = Slab.create({ sizeBytes: 16 * MIB, hugePages: 'no' });
    const store = await openNativeStore({
      slab: slab.buffer,
      device: { driver: 'memory', sizeBytes: 64 * MIB },
      clusterId: Buffer.from(MEMORY_CLUSTER, 'hex'),
      nodeId: id,
      format: 'if-blank',
      clock: realClock,
    });
    if (options.genesis !== false) {
      await store.setCompleteSince(0n);
      await store.setFencesComplete();
    }
    const map = new NodeMap(options.map ?? mapOf(1, [id]));
    const { limits, fences } = options;
    const node = new StorNode({
      store,
      slab,
      map,
      clock: realClock,
      logger: silentLogger,
      ...(limits === undefined ? {} : { limits }),
      ...(fences === undefined ? {} : { fences }),
    });
    const common = { clock: realClock, logger: silentLogger };
    const listener = await new TcpTransport({ slab, ...common }).listen(
      { host: '127.0.0.1', port: 0 },
      node.handle,
      node.hello,
    );
    const deadline = new Deadline({ clock: realClock, operation: 'a test', timeoutMs: 60_000 });
    const transport = new TcpTransport({ slab: clientSlab, ...common });
    const hello = clientHello(MEMORY_CLUSTER, nodeId(id), 'a test');
    const connection = await transport.connect(listener.address, hello, { deadline });
    return new MemoryNode({ store, slab, map, node, listener, deadline }, new RemoteNode(connection), clientSlab);
  }

  get options(): CallOptions {
    return { deadline: this.deadline };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listener.close();
    await this.store.close();
    this.deadline[Symbol.dispose]();
  }
}

export function keyOf(n: number): BlobKey {
  const bytes = new Uint8Array(32);
  new DataView(bytes.buffer).setUint32(0, n);
  return blobKey(bytes);
}

/** A shard of a blob of `blobLength` bytes in a 1+1 code, filled with a pattern of its number; its slot is the caller's. */
export function shardOf(
  slab: Slab,
  n: number,
  blobLength: number,
  fields: Partial<ShardMeta> = {},
): { shard: PutShard; slot: Slot; meta: ShardMeta } {
  const shardLength = roundUpToBlock(Math.max(1, blobLength));
  const slot = slab.alloc(shardLength);
  for (let i = 0; i < shardLength; i++) slot.bytes[i] = i < blobLength ? (i * 7 + n) & 0xff : 0;
  const crcs = new Uint32Array(shardLength / 4096);
  crc32cBlocks(slab.buffer, slot.offset, shardLength, crcs);
  const meta: ShardMeta = {
    flags: 0,
    key: keyOf(n),
    stripeId: stripeId(new Uint8Array(16).fill(n & 0xff)),
    owner: new Uint8Array(16),
    writer: { generation: 0n, incarnation: 0n },
    sequence: 0n,
    stamp: BigInt(Date.now()) << 16n,
    blobLength,
    shardLength,
    k: 1,
    m: 1,
    shardIndex: 0,
    kind: SHARD_KIND.shard,
    homeSetVersion: 0n,
    mapEpoch: 1,
    missingMask: 0,
    rangeOffset: 0,
    ...fields,
  };
  return { shard: { meta: encodeShardMeta(meta, crcs), payload: payloadOf(slot) }, slot, meta };
}
