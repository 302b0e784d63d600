import type { KubeApi } from '../plane/kube-api.ts';
import { DRIVER } from './fleet.ts';

const NAMESPACE = 'default';
export const PODS = `/api/v1/namespaces/${NAMESPACE}/pods`;
export const CLAIMS = `/api/v1/namespaces/${NAMESPACE}/persistentvolumeclaims`;
const MARKER = 'nabustore.io/locality';

export type ClassGiven = { readonly policy?: string; readonly immediate?: boolean };

/** A storage class of ours. */
export async function makeClass(api: KubeApi, name: string, given: ClassGiven = {}): Promise<void> {
  await api.create('/apis/storage.k8s.io/v1/storageclasses', {
    metadata: { name },
    provisioner: DRIVER,
    volumeBindingMode: given.immediate === true ? 'Immediate' : 'WaitForFirstConsumer',
    parameters: { policy: given.policy ?? 'ec:4+2' },
  });
}

export function claimObject(name: string, storage: string, className: string): unknown {
  return {
    metadata: { name },
    spec: { storageClassName: className, accessModes: ['ReadWriteOnce'], resources: { requests: { storage } } },
  };
}

export type PodGiven = {
  readonly claims?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly resources?: Readonly<Record<string, string>>;
  /** Has nothing of ours: no scheduler asks us. */
  readonly stranger?: boolean;
  readonly schedulerName?: string;
  /** Where it is already: no scheduler is asked. */
  readonly node?: string;
};

const RESOURCES = { cpu: '100m', memory: '128Mi' };

/** A pod as admission leaves it: with the mark that makes schedulers ask, unless it is a stranger. */
export function podObject(name: string, given: PodGiven = {}): unknown {
  const {
    claims = [],
    annotations = {},
    labels = {},
    resources = RESOURCES,
    stranger = false,
    schedulerName,
    node,
  } = given;
  const limits = stranger ? resources : { ...resources, [MARKER]: '1' };
  return {
    metadata: { name, annotations, labels },
    spec: {
      containers: [{ name: 'main', image: 'example.com/none', resources: { limits, requests: limits } }],
      ...(schedulerName === undefined ? {} : { schedulerName }),
      ...(node === undefined ? {} : { nodeName: node }),
      ...(claims.length === 0
        ? {}
        : { volumes: claims.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } })) }),
    },
  };
}
