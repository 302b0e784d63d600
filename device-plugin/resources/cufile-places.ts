import type { Inventory, PciFunction } from '../discovery/index.ts';

/** Whether a function lies on one of the nodes. No nodes: everywhere. A machine that does not say has everything near. */
export function isOnNodes({ numaNode }: Pick<PciFunction, 'numaNode'>, numaNodes: readonly number[]): boolean {
  return numaNodes.length === 0 || numaNode === null || numaNodes.includes(numaNode);
}

/** Undefined where nothing says: on a machine of one node that one is meant. */
export function nodeOf({ numaNode }: Pick<PciFunction, 'numaNode'>, machine: Inventory): number | undefined {
  const [only, ...others] = machine.numaNodes;
  return numaNode ?? (others.length === 0 ? only?.node : undefined);
}

/** 'NUMA node 0', 'NUMA nodes 0, 1', 'the machine'. */
export function nodesText(numaNodes: readonly number[]): string {
  if (numaNodes.length === 0) return 'the machine';
  return `NUMA node${numaNodes.length === 1 ? '' : 's'} ${numaNodes.join(', ')}`;
}
