import { compareWriterEpochs, type NodeId } from '../../engine/blob/index.ts';
import { playFreely } from './free-takeover.ts';
import type { Host, OpenerWorld } from './opener-world.ts';
import { only, type Reach, reachOf, settle } from './takeover-reach.ts';

/**
 * Schedules made to hurt: one host takes the volume over from another while each reaches just the nodes that it must not do with, or
 * may not do without. Which nodes and when is the seed's; the sizes are biased to one more or less than what the quorums turn on,
 * and the worst moments are waited for by looking at the nodes' devices.
 */
export async function playTakeovers(world: OpenerWorld): Promise<void> {
  const scenes = 2 + (world.random.uint32() % 2);
  let [old, next] = world.hosts;
  if (world.chance(0.35)) await forgetNotes(world, old, next);
  else {
    if (world.chance(0.3)) only(world, old, reachOf(world).met);
    world.run(world.open(old, 5000));
    await world.advance(700);
  }
  for (let scene = 1; scene < scenes; scene++) {
    world.write(old, world.random.uint32() % 3);
    if (world.chance(0.3)) world.checkpoint(old);
    await world.advance(world.between(0, 40));
    const play = world.pick([lateWriter, lateWriter, minorityRecord, playFreely, forgetNotes, forgetFences]);
    await play(world, old, next);
    await settle(world);
    [old, next] = [next, old];
  }
}

/** A fence of the epoch that was given out last lies on all these nodes. */
function isFenced(world: OpenerWorld, nodes: readonly NodeId[]): boolean {
  return nodes.every((node) => {
    const state = world.cluster.ownerOn(node, world.spec.id);
    return state !== undefined && compareWriterEpochs(state.fence, world.lastEpoch) >= 0;
  });
}

function noteOn(world: OpenerWorld, node: NodeId): bigint {
  return world.cluster.ownerOn(node, world.spec.id)?.noteVersion ?? 0n;
}

function newestNote(world: OpenerWorld): bigint {
  let newest = 0n;
  for (const node of world.cluster.nodes) if (noteOn(world, node) > newest) newest = noteOn(world, node);
  return newest;
}

/**
 * What the old writer has under way is on a few nodes when these are fenced. The rest arrives, after the end of the log was looked for,
 * on the nodes that the fence missed; and of those few some are silent by then.
 */
async function lateWriter(world: OpenerWorld, old: Host, next: Host): Promise<void> {
  const { cluster } = world;
  const { network } = cluster;
  await world.serve(old);
  const { met, missed } = reachOf(world, world.chance(0.75) ? 0 : undefined);
  const witnesses = met.slice(0, world.pick([1, 1, 1, world.fewestHolders - 1]));
  only(world, old, world.chance(0.8) ? witnesses : [...witnesses, ...missed]);
  await world.advance(10);
  const before = witnesses.map((node) => cluster.blobsOn(node));
  world.write(old, 1 + (world.random.uint32() % 3));
  await world.until(() => witnesses.every((node, at) => cluster.blobsOn(node) > (before[at] ?? 0)), 300);
  await world.advance(world.chance(0.5) ? world.between(0, 20) : world.between(900, 1300)); // or until it doubled up
  if (world.chance(0.85)) only(world, old, []);

  const noteBefore = newestNote(world);
  const isSlow = world.chance(0.8);
  only(world, next, isSlow ? cluster.nodes : met);
  if (isSlow) for (const node of missed) cluster.slowFences(node, world.between(2000, 8000));
  world.run(world.open(next, 3500));
  await world.until(() => isFenced(world, met), 1500);
  if (!isSlow) for (const node of missed) network.heal(next.name, node);
  const actor = next.actor;
  const isSilenced = world.chance(0.65);
  const dies = world.chance(0.5);
  for (const node of isSilenced ? witnesses : []) {
    if (dies) cluster.crash(node);
    else network.cut(next.name, node);
  }
  // The end of the log is known when the record of the opening is on its way: with silent nodes it may have to wait for them.
  if (world.chance(0.85)) await world.until(() => next.actor !== actor || newestNote(world) > noteBefore, 1500);
  else await world.advance(world.between(0, 400));
  only(world, old, missed);
  await world.advance(world.between(400, 900));
  for (const node of witnesses) {
    cluster.start(node);
    network.heal(next.name, node);
  }
  await world.until(() => next.actor !== actor, 1200);
  world.write(next, 1 + (world.random.uint32() % 2));
  await world.advance(world.between(0, 300));
}

/**
 * An opener is gone, or stands still, when its record is on so many nodes and no more, if it may with its first writes
 * acknowledged. Another comes that meets the other nodes first, and the one that stood still comes back.
 */
async function minorityRecord(world: OpenerWorld, old: Host, next: Host): Promise<void> {
  const { cluster } = world;
  const { met } = reachOf(world, world.chance(0.7) ? 0 : undefined);
  only(world, next, met);
  const noteBefore = newestNote(world);
  const noted = (): NodeId[] => cluster.nodes.filter((node) => noteOn(world, node) > noteBefore);
  const [actor, stalled] = [next.actor, { ...next }];
  const enough = 1 + (world.random.uint32() % met.length);
  world.run(world.open(next, 4000));
  await world.until(() => isFenced(world, met), 1500);
  for (const node of met.slice(enough)) cluster.slowFences(node, world.between(500, 3000));
  await world.until(() => noted().length >= enough, 1500);
  if (world.chance(0.7)) {
    await world.until(() => next.actor !== actor, 100);
    world.write(next, 1 + (world.random.uint32() % 2));
    await world.advance(world.between(0, 60));
  }
  const holders = noted();
  if (world.chance(0.5)) world.replace(next);
  else only(world, next, []);
  cluster.quicken();
  if (world.chance(0.35)) loseDevices(world, holders.slice(0, 1));

  const others = cluster.nodes.filter((node) => !holders.includes(node));
  const ignorant = [...holders.slice(0, 1), ...world.shuffled(others), ...world.shuffled(holders.slice(1))];
  const order = world.chance(0.3) ? world.shuffled(cluster.nodes) : world.chance(0.5) ? ignorant : ignorant.slice(1);
  only(world, old, order.slice(0, reachOf(world, world.chance(0.7) ? 0 : undefined).met.length));
  world.run(world.open(old, 2500));
  await world.advance(world.between(500, 1500));
  world.write(old, 1 + (world.random.uint32() % 3));
  if (world.chance(0.3)) world.checkpoint(old);
  await world.advance(world.between(0, 300));
  if (world.chance(0.6)) for (const node of cluster.nodes) cluster.network.heal(stalled.name, node);
  await world.advance(world.between(100, 600));
  world.write(next, 1);
  world.write(old, 1);
  await world.advance(world.between(100, 500));
}

/** Nodes that were fenced lose their devices, and the old writer reaches these and the ones that the fence missed. */
async function forgetFences(world: OpenerWorld, old: Host, next: Host): Promise<void> {
  await world.serve(old);
  const { met, missed } = reachOf(world, world.chance(0.8) ? 0 : undefined);
  only(world, old, []);
  only(world, next, met);
  const { actor } = next;
  world.run(world.open(next, 3000));
  await world.until(() => next.actor !== actor, 1500);
  const emptied = met.slice(0, world.pick([1, 1, world.policy.m]));
  loseDevices(world, emptied);
  only(world, old, [...missed, ...emptied]);
  world.write(old, 1 + (world.random.uint32() % 3));
  world.write(next, world.random.uint32() % 3);
  await world.advance(world.between(400, 1200));
}

/** Mostly with nobody near to take the notes and fences over from. */
function loseDevices(world: OpenerWorld, nodes: readonly NodeId[]): void {
  const { cluster } = world;
  world.lostDevices += nodes.length;
  for (const node of nodes) {
    if (world.chance(0.8)) for (const peer of cluster.nodes) if (peer !== node) cluster.network.cut(node, peer);
    cluster.empty(node);
  }
}

/**
 * A writer whose notes reach as few nodes as may be; some of these lose their devices, with nobody to take the notes over from; and
 * the next opener reaches as few as it needs, those that know nothing first.
 */
async function forgetNotes(world: OpenerWorld, old: Host, next: Host): Promise<void> {
  const { cluster } = world;
  const { met: holders, missed: others }: Reach = reachOf(world, 0);
  only(world, old, holders);
  world.run(world.open(old, 2500));
  await world.advance(world.between(700, 1200));
  world.write(old, 1 + (world.random.uint32() % 3));
  await world.advance(world.between(20, 200));
  if (world.chance(0.3)) world.checkpoint(old);
  await world.advance(world.between(0, 300));
  if (world.chance(0.5)) world.replace(old);

  const { m } = world.policy;
  const emptied = holders.slice(0, world.pick([1, m, m, Math.max(2, m)]));
  loseDevices(world, emptied);
  const ignorant = [...emptied, ...others, ...holders.slice(emptied.length)];
  const reach = reachOf(world, world.chance(0.7) ? 0 : undefined).met.length;
  only(world, next, (world.chance(0.8) ? ignorant : world.shuffled(cluster.nodes)).slice(0, reach));
  world.run(world.open(next, world.between(1000, 3000)));
  await world.advance(world.between(900, 2000));
  world.write(next, 1 + (world.random.uint32() % 3));
  world.write(old, 1);
  await world.advance(world.between(300, 800));
}
