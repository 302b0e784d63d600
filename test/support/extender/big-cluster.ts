import { type Given, nodeObject, TestCluster } from './objects.ts';

export type BigCluster = { readonly cluster: TestCluster; readonly names: readonly string[] };

const RACK_NODES = 32;
const ZONES = ['zone-a', 'zone-b', 'zone-c'] as const;

export function nodeName(at: number): string {
  return `gpu-node-${String(at).padStart(5, '0')}`;
}

function place(at: number): { zone: string; rack: string } {
  const rack = Math.floor(at / RACK_NODES);
  return { zone: ZONES[rack % ZONES.length] ?? 'zone-a', rack: `rack-${rack}` };
}

/** Nodes in racks of 32 and three zones, 24 storage nodes, a class of ours, a model that some nodes hold. */
export function bigCluster(nodes: number): BigCluster {
  const cluster = new TestCluster().storageClass('fast').storageClass('other', {}, 'other.example');
  const names = Array.from({ length: nodes }, (_, at) => nodeName(at));
  for (const [at, name] of names.entries()) {
    cluster.node(name, { ...place(at), labels: { 'nabustore.io/rdma.rate-gbps': '400' } }, 128);
  }
  cluster.storage(
    Array.from({ length: 24 }, (_, at) => ZONES[at % 3] ?? 'zone-a'),
    { capacityBytes: 32 * 30e12 },
  );
  const holders = names.filter((_, at) => at % 97 === 0).slice(0, 50);
  cluster.model('llama', 140e9, Object.fromEntries(holders.map((name) => [name, 140e9])));
  return { cluster, names };
}

/** A v1.Node of about 2 kB, as a kubelet reports one. */
export function fullNode(at: number): Given {
  const name = nodeName(at);
  const conditions = ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready'].map((type) => ({
    type,
    status: type === 'Ready' ? 'True' : 'False',
    lastHeartbeatTime: '2026-11-20T10:11:12Z',
    lastTransitionTime: '2026-11-01T10:11:12Z',
    reason: `Kubelet${type}`,
    message: `kubelet has no ${type} to tell of`,
  }));
  const node = nodeObject(name, {
    ...place(at),
    labels: { 'kubernetes.io/hostname': name, 'kubernetes.io/arch': 'amd64' },
  });
  return {
    ...node,
    metadata: {
      ...(node.metadata as Given),
      annotations: { 'example.com/what-others-note-on-nodes': 'x'.repeat(500) },
      uid: `5f1c0000-0000-4000-8000-${String(at).padStart(12, '0')}`,
      resourceVersion: String(at),
    },
    status: {
      allocatable: { cpu: '191', memory: '2101310768Ki', pods: '110', 'nvidia.com/gpu': '8', 'nabustore.io/rdma': '8' },
      capacity: { cpu: '192', memory: '2113310768Ki', pods: '110', 'nvidia.com/gpu': '8', 'nabustore.io/rdma': '8' },
      conditions,
      nodeInfo: {
        kubeletVersion: 'v1.36.3',
        osImage: 'Debian GNU/Linux 12',
        containerRuntimeVersion: 'containerd://2.2.9',
      },
    },
  };
}
