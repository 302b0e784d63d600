import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { realClock } from '../../../common/ports/index.ts';
import { BLOCK_BYTES, blobKey, OWNER_BYTES, StampClock, stripeId } from '../../../engine/blob/index.ts';
import { crc32cBlocks } from '../../../engine/ec/index.ts';
import { encodeShardMeta, SHARD_KIND, shardMetaLength } from '../../../engine/protocol/index.ts';
import { Slab } from '../../../engine/slab/index.ts';
import { openNativeStore, type ShardStore } from '../../../engine/store/index.ts';

/**
 * Durable appends of 4 KiB to several of our stores at once, in one process and with no wire: part of the peer of
 * volume.fsync.4KiB. For each line N on standard input: N rounds; prints {"p50Us":..}.
 */
const [folder = '', storesText = '3', deviceText = String(256 << 20)] = process.argv.slice(2);
const clock = realClock;
const slab = Slab.create({ sizeBytes: 16 << 20 });
const stamps = new StampClock(clock);
const stores: ShardStore[] = [];
for (let i = 0; i < Number(storesText); i++) {
  const store = await openNativeStore({
    slab: slab.buffer,
    device: { driver: 'uring', path: join(folder, `append-${i}.img`), sizeBytes: Number(deviceText) },
    clusterId: randomBytes(16),
    nodeId: `append-${i}`,
    format: 'if-blank',
    clock,
  });
  stores.push(store);
}
const payload = slab.alloc(BLOCK_BYTES);
payload.bytes.fill(7);
const crcs = new Uint32Array(1);
crc32cBlocks(slab.buffer, payload.offset, BLOCK_BYTES, crcs);
const meta = slab.alloc(shardMetaLength(BLOCK_BYTES));
let made = 0;

/** One 4 KiB record, on all stores when it resolves. */
async function append(): Promise<void> {
  const name = createHash('sha256').update(String(made++)).digest();
  const shard = {
    flags: 0,
    key: blobKey(name),
    stripeId: stripeId(name.subarray(0, 16)),
    owner: new Uint8Array(OWNER_BYTES),
    writer: { generation: 0n, incarnation: 0n },
    sequence: 0n,
    stamp: stamps.next(),
    blobLength: BLOCK_BYTES,
    shardLength: BLOCK_BYTES,
    k: 1,
    m: 2,
    shardIndex: 0,
    kind: SHARD_KIND.shard,
    homeSetVersion: 0n,
    mapEpoch: 0,
    missingMask: 0,
    rangeOffset: 0,
  };
  meta.bytes.set(encodeShardMeta(shard, crcs));
  await Promise.all(stores.map((store) => store.append(meta.offset, payload.offset)));
}

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const us: number[] = [];
  for (let round = Number(line); round > 0; round--) {
    const from = performance.now();
    await append();
    us.push((performance.now() - from) * 1000);
  }
  us.sort((a, b) => a - b);
  process.stdout.write(`${JSON.stringify({ p50Us: us[us.length >> 1] })}\n`);
}
await Promise.all(stores.map((store) => store.close()));
