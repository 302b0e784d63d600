import type { KubeApi } from '../plane/kube-api.ts';
import { KWOK_ANNOTATION } from '../plane/kwok-configuration.ts';

export const DRIVER = 'csi.nabustore.io';
export const ZONE_LABEL = 'topology.nabustore.io/zone';
const RACK_LABEL = 'topology.nabustore.io/rack';
const RAIL_LABEL = 'topology.nabustore.io/rail';

export type FleetNode = {
  readonly name: string;
  readonly zone: string;
  readonly rack: string;
  readonly rail: string;
  /** Beside those of its place. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly taints?: readonly { readonly key: string; readonly effect: string }[];
};

export type FleetShape = {
  readonly nodes: number;
  readonly zones: number;
  /** Nodes of one rack; the racks of a zone are filled one after another. */
  readonly perRack: number;
  /** Each crosses the racks of a zone. */
  readonly railsPerZone: number;
};

/** As a large site: four rooms, a rack of GPU servers each 25 nodes. */
export const FLEET: FleetShape = { nodes: 5000, zones: 4, perRack: 25, railsPerZone: 8 };

/** The same names and places for the same shape. */
export function fleetOf({ nodes, zones, perRack, railsPerZone }: FleetShape): readonly FleetNode[] {
  const perZone = Math.ceil(nodes / zones);
  return Array.from({ length: nodes }, (_, at) => {
    const inZone = at % perZone;
    return {
      name: `node-${String(at).padStart(5, '0')}`,
      zone: `zone-${Math.floor(at / perZone)}`,
      rack: `rack-${Math.floor(inZone / perRack)}`,
      rail: `rail-${inZone % railsPerZone}`,
    };
  });
}

export type FleetOptions = {
  readonly quantities?: Readonly<Record<string, string>>;
  readonly attachLimit?: number;
  /** Further labels of every node. */
  readonly labels?: Readonly<Record<string, string>>;
};

const QUANTITIES = { cpu: '96', memory: '1Ti', pods: '110', 'nvidia.com/gpu': '8' };

export function nodeObject(
  { name, zone, rack, rail, labels: own = {}, taints = [] }: FleetNode,
  { quantities = QUANTITIES, labels = {} }: FleetOptions = {},
): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      annotations: { [KWOK_ANNOTATION]: 'fake' },
      labels: {
        'kubernetes.io/hostname': name,
        'kubernetes.io/os': 'linux',
        'kubernetes.io/arch': 'amd64',
        'node.kubernetes.io/instance-type': 'h200-8',
        'topology.kubernetes.io/region': 'test',
        'topology.kubernetes.io/zone': zone,
        [ZONE_LABEL]: zone,
        [RACK_LABEL]: rack,
        [RAIL_LABEL]: rail,
        ...labels,
        ...own,
      },
    },
    spec: { taints },
    status: {
      capacity: quantities,
      allocatable: quantities,
      conditions: ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'].map((type) => ({
        type,
        status: type === 'Ready' ? 'True' : 'False',
        reason: 'Simulated',
        message: 'nothing runs here',
        lastHeartbeatTime: '2026-01-01T00:00:00Z',
        lastTransitionTime: '2026-01-01T00:00:00Z',
      })),
      addresses: [
        { type: 'InternalIP', address: '127.0.0.1' },
        { type: 'Hostname', address: name },
      ],
      nodeInfo: {
        architecture: 'amd64',
        bootID: '',
        containerRuntimeVersion: '',
        kernelVersion: '6.12.0',
        kubeProxyVersion: '',
        kubeletVersion: 'v1.36.3',
        machineID: '',
        operatingSystem: 'linux',
        osImage: '',
        systemUUID: '',
      },
    },
  };
}

export function csiNodeObject({ name }: FleetNode, { attachLimit = 128 }: FleetOptions = {}): unknown {
  const driver = { name: DRIVER, nodeID: name, topologyKeys: [ZONE_LABEL], allocatable: { count: attachLimit } };
  return { apiVersion: 'storage.k8s.io/v1', kind: 'CSINode', metadata: { name }, spec: { drivers: [driver] } };
}

/** Nodes that are ready for pods as soon as they are made, with our driver on them. */
export async function makeFleet(api: KubeApi, fleet: readonly FleetNode[], options: FleetOptions = {}): Promise<void> {
  await api.createAll(fleet.map((node) => ['/apis/storage.k8s.io/v1/csinodes', csiNodeObject(node, options)]));
  await api.createAll(fleet.map((node) => ['/api/v1/nodes', nodeObject(node, options)]));
}
