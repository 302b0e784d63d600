import { parsePolicy } from '../../../engine/blob/index.ts';
import { ClusterIndex } from '../../../scheduler-extender/cluster/index.ts';
import {
  claimFacts,
  csiNodeFacts,
  DRIVER,
  nodeFacts,
  persistentVolumeFacts,
  podFacts,
  storageCapacityFacts,
  storageClassFacts,
} from '../../../scheduler-extender/kube/index.ts';

/** Objects of the API as they come, with what a test says about them. */
export type Given = Readonly<Record<string, unknown>>;

export function nodeObject(name: string, given: { zone?: string; rack?: string; rail?: string } & Given = {}): Given {
  const { zone = 'a', rack = 'r1', rail, taints, allocatable = {}, labels = {} } = given;
  return {
    kind: 'Node',
    metadata: {
      name,
      labels: {
        'topology.nabustore.io/zone': zone,
        'topology.nabustore.io/rack': rack,
        ...(rail === undefined ? {} : { 'topology.nabustore.io/rail': rail }),
        ...(labels as Given),
      },
    },
    spec: taints === undefined ? {} : { taints },
    status: { allocatable },
  };
}

export function csiNodeObject(name: string, count?: number, driver: string = DRIVER): Given {
  const allocatable = count === undefined ? undefined : { count };
  return {
    metadata: { name },
    spec: { drivers: [{ name: driver, nodeID: name, ...(allocatable && { allocatable }) }] },
  };
}

export type PodGiven = {
  readonly claims?: readonly string[];
  readonly ephemeral?: readonly { readonly name: string; readonly spec: Given }[];
  readonly node?: string;
  readonly nominated?: string;
  readonly devices?: Given;
  readonly annotations?: Given;
  readonly labels?: Given;
  readonly tolerations?: readonly Given[];
  readonly phase?: string;
};

export function podObject(name: string, given: PodGiven = {}): Given {
  const { claims = [], ephemeral = [], node, nominated, devices = {}, phase = 'Pending' } = given;
  return {
    metadata: {
      name,
      namespace: 'ns',
      uid: `uid-${name}`,
      annotations: given.annotations ?? {},
      labels: given.labels ?? {},
    },
    spec: {
      ...(node === undefined ? {} : { nodeName: node }),
      containers: [{ name: 'main', resources: { limits: devices, requests: devices } }],
      volumes: [
        ...claims.map((claimName, at) => ({ name: `v${at}`, persistentVolumeClaim: { claimName } })),
        ...ephemeral.map(({ name: volume, spec }) => ({ name: volume, ephemeral: { volumeClaimTemplate: { spec } } })),
      ],
      tolerations: given.tolerations ?? [],
    },
    status: { phase, ...(nominated === undefined ? {} : { nominatedNodeName: nominated }) },
  };
}

export type ClaimGiven = {
  readonly className?: string;
  readonly size?: string;
  readonly volume?: string;
  readonly modes?: readonly string[];
  readonly selectedNode?: string;
};

export function claimObject(name: string, given: ClaimGiven = {}): Given {
  const { className = 'fast', size = '1Gi', volume, modes = ['ReadWriteOnce'], selectedNode } = given;
  const annotations = selectedNode === undefined ? {} : { 'volume.kubernetes.io/selected-node': selectedNode };
  return {
    metadata: { name, namespace: 'ns', uid: `uid-claim-${name}`, annotations },
    spec: {
      storageClassName: className,
      accessModes: modes,
      resources: { requests: { storage: size } },
      ...(volume === undefined ? {} : { volumeName: volume }),
    },
  };
}

export function volumeObject(
  name: string,
  given: { handle?: string; zones?: readonly string[]; driver?: string } = {},
): Given {
  const { handle = `h-${name}`, zones, driver = DRIVER } = given;
  const term = (zone: string): Given => {
    return { matchExpressions: [{ key: 'topology.nabustore.io/zone', operator: 'In', values: [zone] }] };
  };
  return {
    metadata: { name },
    spec: {
      capacity: { storage: '1Gi' },
      csi: { driver, volumeHandle: handle },
      ...(zones === undefined ? {} : { nodeAffinity: { required: { nodeSelectorTerms: zones.map(term) } } }),
    },
  };
}

export function classObject(
  name: string,
  parameters: Given = { policy: 'ec:4+2' },
  provisioner: string = DRIVER,
): Given {
  return {
    metadata: { name, creationTimestamp: '2026-01-01T00:00:00Z' },
    provisioner,
    parameters,
    volumeBindingMode: 'WaitForFirstConsumer',
  };
}

export function capacityObject(name: string, className: string, capacity: string, zone?: string): Given {
  const matchLabels = zone === undefined ? {} : { 'topology.nabustore.io/zone': zone };
  return { metadata: { name, namespace: 'ns' }, storageClassName: className, capacity, nodeTopology: { matchLabels } };
}

/** What is held is the content's bytes there, of `size`. */
export function reportObject(node: string, contents: readonly Given[] = [], spec: Given = {}): Given {
  return {
    apiVersion: 'nabustore.io/v1alpha1',
    kind: 'LocalityReport',
    metadata: { name: node },
    spec: { reportedAt: '2026-01-01T00:00:00Z', validSeconds: 60, contents, ...spec },
  };
}

/** Of an HCA as the device plugin publishes it. */
export function hcaDevice(numaNode: number | undefined, given: Given = {}): Given {
  const numa = numaNode === undefined ? {} : { 'nabustore.io/numaNode': { int: numaNode } };
  return { name: 'hca', attributes: { 'nabustore.io/resource': { string: 'nabustore.io/rdma' }, ...numa }, ...given };
}

export function sliceObject(name: string, node: string, devices: readonly Given[], generation = 1): Given {
  const pool = { name: node, generation, resourceSliceCount: 1 };
  return { metadata: { name }, spec: { driver: 'devices.nabustore.io', nodeName: node, pool, devices } };
}

/** An index and the shortest ways to tell it things. */
export class TestCluster {
  readonly index = new ClusterIndex();

  node(name: string, given: Parameters<typeof nodeObject>[1] = {}, attachLimit?: number): this {
    this.index.put('node', nodeFacts(nodeObject(name, given)));
    this.index.put('csiNode', csiNodeFacts(csiNodeObject(name, attachLimit)));
    return this;
  }

  pod(name: string, given: PodGiven = {}): this {
    this.index.put('pod', podFacts(podObject(name, given)));
    return this;
  }

  claim(name: string, given: ClaimGiven = {}): this {
    this.index.put('claim', claimFacts(claimObject(name, given)));
    return this;
  }

  /** A claim with its volume. */
  bound(name: string, given: ClaimGiven & { readonly zones?: readonly string[] } = {}): this {
    const { zones } = given;
    this.index.put('volume', persistentVolumeFacts(volumeObject(`pv-${name}`, zones === undefined ? {} : { zones })));
    return this.claim(name, { ...given, volume: `pv-${name}` });
  }

  storageClass(name: string, parameters?: Given, provisioner?: string): this {
    this.index.put('storageClass', storageClassFacts(classObject(name, parameters, provisioner)));
    return this;
  }

  capacity(name: string, className: string, capacity: string, zone?: string): this {
    this.index.put('capacity', storageCapacityFacts(capacityObject(name, className, capacity, zone)));
    return this;
  }

  /** Storage nodes of 100 GiB each, one to a host and rack, by the zones given. */
  storage(zones: readonly string[], given: { capacityBytes?: number } = {}): this {
    for (const [at, zone] of zones.entries()) {
      this.index.put('storageNode', {
        id: `s${at}`,
        host: `storage-${at}`,
        zone,
        rack: `sr${at}`,
        state: 'up',
        capacityBytes: given.capacityBytes ?? 100 * 2 ** 30,
        load: 0,
        rttUs: new Map(),
        cutOffZones: [],
      });
    }
    return this;
  }

  model(name: string, sizeBytes: number, holders: Readonly<Record<string, number>>): this {
    this.index.put('content', {
      kind: 'model',
      id: `id-${name}`,
      names: [name],
      sizeBytes,
      holders: Object.entries(holders).map(([node, bytes]) => ({ node, bytes, isStorage: false })),
    });
    return this;
  }

  record(claim: string, given: { homeSet?: readonly string[]; liveBytes?: number; sizeBytes?: number } = {}): this {
    this.index.put('record', {
      id: `h-pv-${claim}`,
      name: `pvc-uid-claim-${claim}`,
      policy: parsePolicy('ec:4+2'),
      failureDomain: 'host',
      thin: false,
      sizeBytes: given.sizeBytes ?? 2 ** 30,
      liveBytes: given.liveBytes,
      homeSet: given.homeSet ?? [],
      attachedNode: '',
    });
    return this;
  }

  slot(name: string): number {
    return this.index.nodes.names.find(name);
  }
}
