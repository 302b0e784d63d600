import type { Host, OpenerWorld } from './opener-world.ts';
import { only, reachOf } from './takeover-reach.ts';

type Event = { readonly atMs: number; readonly act: () => void };

async function play(world: OpenerWorld, events: readonly Event[], untilMs: number): Promise<void> {
  let nowMs = 0;
  for (const { atMs, act } of [...events].sort((a, b) => a.atMs - b.atMs)) {
    await world.advance(Math.max(0, atMs - nowMs));
    nowMs = Math.max(nowMs, atMs);
    act();
  }
  await world.advance(Math.max(0, untilMs - nowMs));
}

/** A take-over in which everything has its own time: links, slow nodes, restarts, the openers themselves. */
export async function playFreely(world: OpenerWorld, old: Host, next: Host): Promise<void> {
  const { cluster } = world;
  const { network } = cluster;
  const { met, missed } = reachOf(world);
  const touched = met.slice(0, world.pick([0, 0, 1, 1, world.fewestHolders - 1]));
  const events: Event[] = [];
  const at = (atMs: number, act: () => void): void => void events.push({ atMs, act });

  // The old writer: on the missed nodes from the start, or only when it is late; on the touched ones until they are fenced.
  if (world.chance(0.6)) world.write(old, 1 + (world.random.uint32() % 2)); // under way when the links break
  const isLate = world.chance(0.4);
  if (world.chance(0.85)) only(world, old, isLate ? touched : [...missed, ...touched]);
  if (world.chance(0.3)) for (const node of missed) network.slow(old.name, node, world.between(50, 700));
  world.write(old, 1 + (world.random.uint32() % 3));
  const openMs = world.chance(0.5) ? world.between(0, 60) : world.between(300, 1600);
  for (const node of touched) if (world.chance(0.5)) at(openMs, () => network.cut(old.name, node));
  if (isLate) at(openMs + world.between(100, 1500), () => only(world, old, missed));

  // The next one: does not meet some nodes, or they are so slow to fence that they answer everything else before.
  const how = world.pick(['cut', 'cut', 'slow', 'down', 'cut and heal'] as const);
  at(openMs, () => {
    only(world, next, how === 'slow' ? cluster.nodes : met);
    for (const node of missed) {
      if (how === 'slow') cluster.slowFences(node, world.between(600, 4000));
      else if (how === 'down') cluster.crash(node);
    }
    world.run(world.open(next, world.between(1200, 3500)));
  });
  if (how === 'down') at(openMs + world.between(200, 1200), () => missed.forEach((node) => void cluster.start(node)));
  if (how === 'cut and heal') {
    at(openMs + world.between(50, 700), () => missed.forEach((node) => void network.heal(next.name, node)));
  }

  // Between its fence and its replay nodes fall silent, restart with the fences on their disks, or the opener itself is gone.
  const silentMs = openMs + world.between(5, 500);
  for (const node of world.chance(0.5) ? touched : [world.pick(met)]) {
    if (world.chance(0.5)) at(silentMs, () => network.cut(next.name, node));
    else if (world.chance(0.6)) {
      at(silentMs, () => cluster.crash(node));
      at(silentMs + world.between(10, 900), () => cluster.start(node));
    }
  }
  if (world.chance(0.2)) {
    at(openMs + world.between(5, 600), () => {
      world.replace(next);
      only(world, next, world.chance(0.5) ? met : reachOf(world).met);
      world.run(world.open(next, world.between(1000, 2500)));
    });
  }
  const settledMs = openMs + world.between(700, 2200);
  at(settledMs, () => world.write(next, 1 + (world.random.uint32() % 3)));
  at(settledMs + world.between(0, 200), () => world.write(old, 1));
  if (world.chance(0.4)) at(settledMs + world.between(0, 300), () => world.checkpoint(next));
  await play(world, events, settledMs + world.between(300, 900));
}
