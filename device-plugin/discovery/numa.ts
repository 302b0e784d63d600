import { cpuList, numbers } from './attribute.ts';
import type { NumaNode } from './ids.ts';
import { eachInTurn, type Survey } from './survey.ts';

/** A NUMA node, from /sys/devices/system/node/node<n> (Documentation/ABI/stable/sysfs-devices-node). */
export type NumaNodeView = {
  readonly node: NumaNode;
  /** '0-55,112-167'; empty for a node of memory alone. */
  readonly cpus: string | null;
  /** To every node that is online, in their order; 10 is the node itself. */
  readonly distances: readonly number[] | null;
};

const NODE = /^node\d{1,5}$/;

/** The nodes by number; none on a kernel without NUMA. */
export async function discoverNumaNodes(survey: Survey): Promise<readonly NumaNodeView[]> {
  const { sys } = survey;
  const names = await survey.names(sys, 'devices/system/node', NODE);
  const nodes = names.map((name) => Number(name.slice('node'.length)) as NumaNode).sort((a, b) => a - b);
  return await eachInTurn(nodes, async (node) => ({
    node,
    cpus: await survey.value(sys, `devices/system/node/node${node}/cpulist`, cpuList),
    distances: await survey.value(sys, `devices/system/node/node${node}/distance`, numbers),
  }));
}
