import { type Admission, DEFAULT_PLACEMENT_RULES, placePod } from '../../../scheduler-extender/admission/index.ts';
import { DEFAULT_RULES } from '../../../scheduler-extender/decide/index.ts';
import { DEFAULT_PLACE_LABELS, nodeFacts } from '../../../scheduler-extender/kube/index.ts';
import { patched } from '../pod.ts';
import { type Given, nodeObject, type TestCluster } from './objects.ts';

export function admissionOf({ index }: TestCluster, given: Partial<Admission> = {}): Admission {
  return {
    index,
    rules: DEFAULT_RULES,
    placement: DEFAULT_PLACEMENT_RULES,
    labels: DEFAULT_PLACE_LABELS,
    schedulers: new Set(['nabustore']),
    advisesOthers: true,
    gates: true,
    sendTo: '',
    ...given,
  };
}

export type Admitted = { readonly pod: Given; readonly operations: number; readonly warnings: readonly string[] };

/** The pod as it is after the webhook. */
export function admitted(pod: Given, admission: Admission): Admitted {
  const review = placePod({ uid: 'review', namespace: 'ns', object: pod, field: 'pod' }, admission);
  if (!review.isAllowed) throw new RangeError(review.reason);
  return {
    pod: patched(pod, review.patch) as Given,
    operations: review.patch.length,
    warnings: review.warnings,
  };
}

export type Expression = { readonly key: string; readonly operator: string; readonly values?: readonly string[] };
export type NodeTerm = {
  readonly matchExpressions?: readonly Expression[];
  readonly matchFields?: readonly Expression[];
};

/** As the scheduler matches terms (component-helpers, nodeaffinity): one without requirements matches nothing. */
export function termMatches({ matchExpressions = [], matchFields = [] }: NodeTerm, node: Given): boolean {
  const { name, labels } = node.metadata as { name: string; labels: Readonly<Record<string, string>> };
  const holds = ({ key, operator, values = [] }: Expression, given: Readonly<Record<string, string>>): boolean => {
    const value = Object.hasOwn(given, key) ? given[key] : undefined;
    if (operator === 'In') return value !== undefined && values.includes(value);
    if (operator === 'NotIn') return value === undefined || !values.includes(value);
    if (operator === 'Exists') return value !== undefined;
    if (operator === 'DoesNotExist') return value === undefined;
    throw new RangeError(operator);
  };
  if (matchExpressions.length + matchFields.length === 0) return false;
  return (
    matchExpressions.every((expression) => holds(expression, labels)) &&
    matchFields.every((expression) => holds(expression, { 'metadata.name': name }))
  );
}

type NodeAffinity = {
  readonly requiredDuringSchedulingIgnoredDuringExecution?: { readonly nodeSelectorTerms: readonly NodeTerm[] };
  readonly preferredDuringSchedulingIgnoredDuringExecution?: readonly {
    readonly weight: number;
    readonly preference: NodeTerm;
  }[];
};

export function nodeAffinityOf(pod: Given): NodeAffinity {
  const { affinity } = pod.spec as { affinity?: { nodeAffinity?: NodeAffinity } };
  return affinity?.nodeAffinity ?? {};
}

export function isAllowed(pod: Given, node: Given): boolean {
  const required = nodeAffinityOf(pod).requiredDuringSchedulingIgnoredDuringExecution;
  return required === undefined || required.nodeSelectorTerms.some((term) => termMatches(term, node));
}

/** The weights that a node gets together. */
export function preferenceOf(pod: Given, node: Given): number {
  const terms = nodeAffinityOf(pod).preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return terms.filter(({ preference }) => termMatches(preference, node)).reduce((sum, { weight }) => sum + weight, 0);
}

/** Nodes with labels of one kind or another, or without. */
export function addNode(cluster: TestCluster, name: string, labels: Given): Given {
  const node = nodeObject(name);
  const bare = { ...node, metadata: { name, labels } };
  cluster.index.put('node', nodeFacts(bare));
  return bare;
}
