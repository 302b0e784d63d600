import type { OpenerWorld } from './opener-world.ts';

const STEPS = 40;

/** Everything at random: openings, writing, crashes, cuts, split networks and one lost device. */
export async function playStorm(world: OpenerWorld): Promise<void> {
  world.run(world.open(world.hosts[0], 5000));
  for (let i = 0; i < STEPS; i++) {
    await world.advance(world.random.float() * 120);
    step(world);
  }
}

function step(world: OpenerWorld): void {
  const { cluster, random } = world;
  const host = world.pick(world.hosts);
  const node = world.pick(cluster.nodes);
  const dice = random.float();
  if (dice < 0.08) split(world);
  else if (dice < 0.24) world.run(world.open(host, 400 + random.float() * 1500));
  else if (dice < 0.52) world.write(host, 1 + (random.uint32() % 6));
  else if (dice < 0.6) world.checkpoint(host);
  else if (dice < 0.7) cluster.crash(node);
  else if (dice < 0.82) cluster.start(node);
  else if (dice < 0.9) cluster.network.cut(host.name, node);
  else if (dice < 0.97) cluster.network.heal(host.name, node);
  // A blob that was written degraded survives one loss, no more is promised.
  else if (world.lostDevices === 0 && cluster.up.length === cluster.nodes.length) {
    world.lostDevices++;
    cluster.empty(node);
  }
}

/** Each host sees a part of the nodes; the parts overlap in a few, or in none. */
function split(world: OpenerWorld): void {
  const { network, nodes } = world.cluster;
  const overlap = world.random.float() * 0.4;
  for (const node of nodes) {
    const dice = world.random.float();
    for (const [at, host] of world.hosts.entries()) {
      const sees = at === 0 ? dice < 0.5 + overlap : dice > 0.5 - overlap;
      if (sees) network.heal(host.name, node);
      else network.cut(host.name, node);
    }
  }
}
