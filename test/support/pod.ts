import type { AddOperation } from '../../common/admission/index.ts';

export type Amounts = Readonly<Record<string, string>>;
export type TestContainer = {
  readonly name: string;
  readonly image: string;
  readonly resources?: { readonly limits?: Amounts; readonly requests?: Amounts; readonly claims?: readonly object[] };
  readonly restartPolicy?: string;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly securityContext?: { readonly privileged: boolean };
};
export type TestPod = {
  readonly apiVersion: 'v1';
  readonly kind: 'Pod';
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly containers: readonly TestContainer[];
    readonly initContainers?: readonly TestContainer[];
    readonly ephemeralContainers?: readonly TestContainer[];
    readonly volumes?: readonly object[];
    readonly resources?: { readonly limits?: Amounts; readonly requests?: Amounts };
  };
};

/** A container with limits, of which the API server makes requests too. */
export function container(name: string, limits: Amounts, fields: Partial<TestContainer> = {}): TestContainer {
  return { name, image: 'busybox', resources: { limits, requests: limits }, ...fields };
}

export function pod(containers: readonly TestContainer[], spec: Partial<TestPod['spec']> = {}): TestPod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'train', namespace: 'ai' },
    spec: { containers, ...spec },
  };
}

/** RFC 6902 for additions to objects and to ends of lists, as the API server applies them. */
export function patched(document: unknown, patch: readonly AddOperation[]): unknown {
  const copy: unknown = structuredClone(document);
  for (const { path, value } of patch) {
    const parts = path.split('/').slice(1);
    const names = parts.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = names.pop() ?? '';
    const parent: unknown = names.reduce((at: unknown, name) => Reflect.get(Object(at), name), copy);
    if (typeof parent !== 'object' || parent === null) throw new RangeError(`nothing is at ${path}`);
    if (Array.isArray(parent) && last === '-') parent.push(structuredClone(value));
    else Reflect.set(parent, last, structuredClone(value));
  }
  return copy;
}
