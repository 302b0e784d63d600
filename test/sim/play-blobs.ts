import assert from 'node:assert/strict';
import { SeededRandom } from '../../common/ports/index.ts';
import { Slab } from '../../engine/slab/index.ts';
import { BlobWorld, type Tally } from './blob-world.ts';

const SHAPES = [
  { policy: 'ec:4+2', nodes: 6 },
  { policy: 'ec:4+2', nodes: 9 },
  { policy: 'ec:2+1', nodes: 4 },
  { policy: 'replica:3', nodes: 5 },
] as const;
const SLAB_BYTES = 128 << 20;
const STORM_MS = 2500;
const LANES = 4;
const PATIENCE_MS = 30_000;

/** Puts, gets and deletes, one after the other, until the storm is over. */
async function work(world: BlobWorld): Promise<void> {
  const { clock, random } = world;
  while (clock.monotonicMs() < STORM_MS) {
    const blob = world.pick(world.blobs);
    const timeoutMs = 200 + random.float() * 1500;
    const dice = random.float();
    if (dice < 0.45) await world.put(blob, timeoutMs);
    else if (dice < 0.9) await world.get(blob, timeoutMs);
    // What could not be deleted everywhere is often put again: its tombstones may still be on their way.
    else if (!(await world.delete(blob, timeoutMs / 2)) && random.float() < 0.7) await world.put(blob, timeoutMs);
    await clock.sleep(random.float() * 60);
  }
}

/** Nodes die and come back, links break, devices fill up, rot and are lost; never more than the code can bear in one blob. */
async function weather(world: BlobWorld): Promise<void> {
  const { cluster, clock, random } = world;
  while (clock.monotonicMs() < STORM_MS) {
    await clock.sleep(random.float() * 100);
    const node = world.pick(cluster.nodes);
    const name = world.pick(world.clientNames);
    const dice = random.float();
    if (dice < 0.14) cluster.crash(node);
    else if (dice < 0.34) cluster.start(node);
    else if (dice < 0.48) cluster.network.cut(name, node);
    else if (dice < 0.62) cluster.network.heal(name, node);
    else if (dice < 0.68) cluster.network.slow(name, node, random.float() * 400);
    else if (dice < 0.74) cluster.diskOf(node).full = !cluster.diskOf(node).full;
    else if (dice < 0.8) cluster.network.healAll();
    else if (dice < 0.9) rotOne(world);
    else if (dice < 0.98) cluster.network.cut(name, world.pick(cluster.nodes));
    else if (world.emptied.size === 0 && world.canSpare(node)) world.empty(node);
  }
}

function rotOne(world: BlobWorld): void {
  const { kept } = world;
  if (kept.length === 0) return;
  const blob = world.pick(kept);
  const node = world.pick(world.cluster.nodes);
  if (world.canSpare(node, [blob])) world.rot(blob, node);
}

/** With every node back: what is to be kept reads back, what is gone stays away, what was refused is whole or not there. */
async function checkWhole(world: BlobWorld): Promise<void> {
  for (const blob of world.blobs) {
    const now = world.clock.monotonicMs();
    const [kept, gone] = [blob.isKept(now), blob.isGone(now)];
    const answer = await world.get(blob, PATIENCE_MS, true);
    if (kept) {
      assert.equal(answer, 'bytes', 'an acknowledged blob');
      const good = world.goodShards(blob, world.cluster.nodes);
      if (!blob.isHarmed) assert.ok(good >= world.fullShards, `${good} shards of an acknowledged blob are left`);
    } else if (gone && world.emptied.size === 0) assert.equal(answer, 'absent', 'a deleted blob');
    else if (!blob.wasEverDeleted && !blob.isHarmed) assert.match(answer, /bytes|absent/, 'a refused blob');
  }
}

/** Up to m nodes are lost, each in its own way: everything of which enough is left still reads back. Returns how many that were. */
async function checkLosses(world: BlobWorld): Promise<number> {
  const { cluster, random, policy } = world;
  const lost = cluster.nodes.filter(() => true).sort(() => random.float() - 0.5);
  lost.length = 1 + (random.uint32() % policy.m);
  const others = cluster.nodes.filter((node) => !lost.includes(node));
  const kept = world.kept.filter((blob) => world.goodShards(blob, others) >= policy.k);
  const doomed = world.kept.filter((blob) => !kept.includes(blob));
  for (const node of lost) {
    const how = random.uint32() % 3;
    if (how === 0) cluster.crash(node);
    else if (how === 1) world.empty(node);
    else for (const blob of world.blobs) world.rot(blob, node);
  }
  for (const blob of kept) assert.equal(await world.get(blob, PATIENCE_MS, true), 'bytes', 'an acknowledged blob');
  for (const blob of doomed) await world.get(blob, 2000);
  return kept.length;
}

/** Deletes while nodes are away; when these come back, what was confirmed to be deleted is not there. */
async function checkDeletes(world: BlobWorld): Promise<void> {
  const { cluster, random } = world;
  world.heal();
  const away = world.pick(cluster.nodes);
  if (random.float() < 0.7) cluster.crash(away);
  const victims = world.blobs.filter(() => random.float() < 0.5);
  for (const blob of victims) await world.delete(blob, 3000);
  world.heal();
  for (const blob of victims) while (!(await world.delete(blob, 3000)));
  for (const blob of victims) {
    const answer = await world.get(blob, PATIENCE_MS, true);
    if (world.emptied.size === 0) assert.equal(answer, 'absent', 'a deleted blob');
  }
}

/** One schedule under one seed: a storm with working clients, then everything that the promises say about what is left. */
export async function playBlobs(seed: number): Promise<Tally & { survived: number }> {
  const random = new SeededRandom(seed);
  const slab = Slab.create({ sizeBytes: SLAB_BYTES });
  const world = new BlobWorld({ ...(SHAPES[seed % SHAPES.length] ?? SHAPES[0]), slab, random });
  try {
    const lanes = Array.from({ length: LANES }, () => work(world));
    await world.until(Promise.all([weather(world), ...lanes]));
    world.heal();
    await world.clock.advance(1500);
    await world.until(checkWhole(world));
    const survived = await world.until(checkLosses(world));
    await world.until(checkDeletes(world), 300_000);
    return { ...world.tally, survived };
  } finally {
    world.cluster.close();
  }
}
