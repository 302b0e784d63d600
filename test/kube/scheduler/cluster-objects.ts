import { CoreV1Api, type KubeConfig, StorageV1Api, type V1Pod } from '@kubernetes/client-node';
import { until } from '../host/until.ts';

const DRIVER = 'csi.nabustore.io';
const WAIT_MS = 60_000;

/** The namespace and the service account that pods need before they can be made. */
export async function untilPodsCanBeMade(config: KubeConfig, namespace: string): Promise<void> {
  const core = config.makeApiClient(CoreV1Api);
  await until('there is a namespace', WAIT_MS, () => core.readNamespace({ name: namespace }));
  await until('there is a service account', WAIT_MS, () =>
    core.createNamespacedServiceAccount({ namespace, body: { metadata: { name: 'default' } } }),
  );
}

export type NodeGiven = {
  readonly zone?: string;
  readonly rack?: string;
  readonly attachLimit?: number;
  readonly cpu?: string;
};

/** A node that is an object, ready for pods, with our driver on it. */
export async function makeNode(config: KubeConfig, name: string, given: NodeGiven = {}): Promise<void> {
  const { zone = 'a', attachLimit = 128, cpu = '4' } = given;
  const core = config.makeApiClient(CoreV1Api);
  const inRack = given.rack === undefined ? {} : { 'topology.nabustore.io/rack': given.rack };
  const labels = { 'topology.nabustore.io/zone': zone, ...inRack, 'kubernetes.io/hostname': name };
  const quantities = { cpu, memory: '64Gi', pods: '1000' };
  await core.createNode({ body: { metadata: { name, labels } } });
  const conditions = [{ type: 'Ready', status: 'True', reason: 'Test', message: 'as an object can be' }];
  const status = { capacity: quantities, allocatable: quantities, conditions };
  await core.replaceNodeStatus({ name, body: { metadata: { name, labels }, status } });
  // Admission makes every node unready at first; what would lift that (a controller) does not run here.
  await core.patchNode({ name, body: [{ op: 'remove', path: '/spec/taints' }] });
  const drivers = [{ name: DRIVER, nodeID: name, topologyKeys: [], allocatable: { count: attachLimit } }];
  const storage = config.makeApiClient(StorageV1Api);
  await storage.createCSINode({ body: { metadata: { name }, spec: { drivers } } });
}

export async function makeClass(config: KubeConfig, name: string): Promise<void> {
  await config.makeApiClient(StorageV1Api).createStorageClass({
    body: {
      metadata: { name },
      provisioner: DRIVER,
      volumeBindingMode: 'WaitForFirstConsumer',
      parameters: { policy: 'replica:3' },
    },
  });
}

/** That of our driver: the scheduler itself believes what is published of capacities. */
export async function makeDriver(config: KubeConfig): Promise<void> {
  const spec = { storageCapacity: true, attachRequired: true };
  await config.makeApiClient(StorageV1Api).createCSIDriver({ body: { metadata: { name: DRIVER }, spec } });
}

export async function makeClaim(config: KubeConfig, namespace: string, name: string, storage: string): Promise<void> {
  const spec = { storageClassName: 'fast', accessModes: ['ReadWriteOnce'], resources: { requests: { storage } } };
  const body = { metadata: { name }, spec };
  await config.makeApiClient(CoreV1Api).createNamespacedPersistentVolumeClaim({ namespace, body });
}

export type PodGiven = {
  readonly claim?: string;
  readonly cpu?: string;
  readonly high?: boolean;
  readonly node?: string;
  /** Has nothing of ours: the scheduler does not ask. */
  readonly stranger?: boolean;
  /** Waits behind our gate. */
  readonly gated?: boolean;
  /** What it is annotated with. */
  readonly annotations?: Record<string, string>;
  readonly labels?: Record<string, string>;
};

/** A pod that a scheduler asks the extender about. */
export function podObject(name: string, given: PodGiven = {}): V1Pod {
  const marker: Record<string, string> = given.stranger === true ? {} : { 'nabustore.io/locality': '1' };
  const limits = { cpu: given.cpu ?? '10m', memory: '16Mi', ...marker };
  return {
    metadata: { name, annotations: given.annotations ?? {}, labels: given.labels ?? {} },
    spec: {
      ...(given.gated === true ? { schedulingGates: [{ name: 'nabustore.io/extender' }] } : {}),
      containers: [{ name: 'main', image: 'example.com/none', resources: { limits, requests: limits } }],
      ...(given.high === true ? { priorityClassName: 'high' } : {}),
      ...(given.node === undefined ? {} : { nodeSelector: { 'kubernetes.io/hostname': given.node } }),
      ...(given.claim === undefined
        ? {}
        : { volumes: [{ name: 'v', persistentVolumeClaim: { claimName: given.claim } }] }),
    },
  };
}

export async function makePod(config: KubeConfig, namespace: string, name: string, given?: PodGiven): Promise<void> {
  await config.makeApiClient(CoreV1Api).createNamespacedPod({ namespace, body: podObject(name, given) });
}
