import { type NodeId, nodeId } from '../../../../engine/blob/index.ts';
import { type ClusterMap, type MapNode, parseClusterMap } from '../../../../engine/placement/index.ts';

export type SampleNode = {
  readonly id: string;
  readonly rack?: string;
  readonly zone?: string;
  readonly weight?: number;
  readonly state?: MapNode['state'];
};

export function sampleMap(nodes: readonly SampleNode[], epoch = 1): ClusterMap {
  return parseClusterMap(
    {
      clusterId: '00112233445566778899aabbccddeeff',
      epoch,
      nodes: nodes.map(({ id, rack = 'r1', zone = 'z1', weight = 1, state = 'up' }, at) => ({
        id,
        address: { host: '127.0.0.1', port: 1000 + at },
        domain: { zone, rack, host: id },
        weight,
        state,
      })),
    },
    'sample map',
  );
}

/** n0, n1, ...: each its own host. */
export function sampleNodes(count: number): SampleNode[] {
  return Array.from({ length: count }, (_, at) => ({ id: `n${at}` }));
}

export function ids(map: ClusterMap): NodeId[] {
  return map.nodes.map((node) => nodeId(node.id));
}
