import type { NodeId } from '../../engine/blob/index.ts';
import type { Host, OpenerWorld } from './opener-world.ts';

/** Which nodes an opener meets, and which its fence misses. */
export type Reach = { readonly met: readonly NodeId[]; readonly missed: readonly NodeId[] };

/** At random: mostly as many as a fence needs, or one fewer, or one more. */
export function reachOf(world: OpenerWorld, more = world.pick([-1, 0, 0, 0, 1])): Reach {
  const fence = world.cluster.nodes.length - (world.fewestHolders - 1);
  const order = world.shuffled(world.cluster.nodes);
  return { met: order.slice(0, fence + more), missed: order.slice(fence + more) };
}

/** From now on the host reaches these nodes and no others. */
export function only(world: OpenerWorld, host: Host, reached: readonly NodeId[]): void {
  for (const node of world.cluster.nodes) {
    if (reached.includes(node)) world.cluster.network.heal(host.name, node);
    else world.cluster.network.cut(host.name, node);
  }
}

/** Mostly everything is whole again before the next scene. */
export async function settle(world: OpenerWorld): Promise<void> {
  const { cluster } = world;
  if (world.chance(0.75)) cluster.network.healAll();
  if (world.chance(0.75)) for (const node of cluster.nodes) cluster.start(node);
  if (world.chance(0.75)) cluster.quicken();
  await world.advance(world.between(0, 600));
}
