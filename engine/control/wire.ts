import type { MessageInit } from '../../common/grpc/index.ts';
import type { nabustore } from '../../proto/gen/messages.js';
import { type ClusterMap, type MapNode, parseClusterMap } from '../placement/index.ts';
import type { StoredVolume } from './volume-table.ts';

type WireMap = nabustore.v1.ClusterMap;
type WireNode = nabustore.v1.MapNode;
export type VolumeReport = nabustore.v1.VolumeReport;

export function nodeToWire(node: MapNode): MessageInit<WireNode> {
  return {
    id: node.id,
    address: node.address,
    domain: node.domain,
    weight: node.weight,
    state: node.state,
    deviceId: node.deviceId ?? '',
    incarnation: BigInt(node.incarnation ?? 0),
    capacityBytes: node.capacityBytes ?? 0,
  };
}

export function mapToWire(map: ClusterMap): MessageInit<WireMap> {
  return { clusterId: map.clusterId, epoch: map.epoch, nodes: map.nodes.map(nodeToWire) };
}

function nodeFromWire(node: WireNode): unknown {
  return {
    id: node.id,
    address: node.address,
    domain: node.domain,
    weight: node.weight,
    state: node.state,
    capacityBytes: Number(node.capacityBytes),
    ...(node.deviceId === '' ? {} : { deviceId: node.deviceId }),
    incarnation: node.incarnation.toString(),
  };
}

/** Checks it like any map from outside. */
export function mapFromWire(map: WireMap): ClusterMap {
  return parseClusterMap(
    { clusterId: map.clusterId, epoch: Number(map.epoch), nodes: map.nodes.map(nodeFromWire) },
    'the cluster map from control',
  );
}

export function volumeToWire(
  { record, version }: StoredVolume,
  report: VolumeReport | undefined,
): MessageInit<nabustore.v1.Volume> {
  return {
    id: record.id,
    name: record.name,
    sizeBytes: record.sizeBytes,
    policy: record.policy,
    failureDomain: record.failureDomain,
    maxShardsPerDomain: record.maxShardsPerDomain,
    provisioning: record.provisioning,
    tier: record.tier,
    homeSet: record.homeSet,
    homeSetVersion: record.homeSetVersion,
    attachment: record.attachment ?? undefined,
    generation: record.generation,
    state: record.state,
    parameters: record.parameters,
    createdMs: BigInt(Math.floor(record.createdMs)),
    resourceVersion: version,
    report,
  };
}
