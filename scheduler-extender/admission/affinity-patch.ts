import { isDeepStrictEqual } from 'node:util';
import { type AddOperation, pointer } from '../../common/admission/index.ts';
import type { NewPod } from './new-pod.ts';
import type { Placement, Requirement, Term } from './node-terms.ts';

const REQUIRED = 'requiredDuringSchedulingIgnoredDuringExecution';
const PREFERRED = 'preferredDuringSchedulingIgnoredDuringExecution';
const AFFINITY = ['spec', 'affinity'] as const;

/** Kubernetes, core/v1, WeightedPodAffinityTerm. */
export type NearTerm = {
  readonly weight: number;
  readonly podAffinityTerm: {
    readonly topologyKey: string;
    readonly labelSelector: { readonly matchLabels: Readonly<Record<string, string>> };
  };
};

function contains(term: Term, ours: Term): boolean {
  const given = (term.matchExpressions ?? []).map(plain);
  return (ours.matchExpressions ?? []).every((one) => given.some((other) => isDeepStrictEqual(other, plain(one))));
}

function plain({ key, operator, values }: Requirement): object {
  return { key, operator, values: values ?? [] };
}

const isEmpty = ({ matchExpressions, matchFields }: Term): boolean =>
  (matchExpressions ?? []).length === 0 && (matchFields ?? []).length === 0;

/**
 * Each of the user's terms and one of ours: (a or b) and (c or d) is four terms. A term that has one of ours in it already stays as it
 * is, which is the same set of nodes; so does an empty one, which no node matches and which ours would open. Pure.
 */
export function narrowed(given: readonly Term[], ours: readonly Term[]): readonly Term[] {
  if (ours.length === 0) return given;
  if (given.length === 0) return ours;
  return given.flatMap((term) => {
    if (isEmpty(term) || ours.some((one) => contains(term, one))) return [term];
    return ours.map((one) => ({
      ...term,
      matchExpressions: [...(term.matchExpressions ?? []), ...(one.matchExpressions ?? [])],
    }));
  });
}

function appended(given: readonly unknown[], ours: readonly object[]): readonly unknown[] {
  return [...given, ...ours.filter((one) => !given.some((other) => isDeepStrictEqual(other, one)))];
}

/**
 * Node affinity and pod affinity with ours in it, as one operation on the outermost part that is missing. Empty where all of it is there
 * already. `tooMany`: what is required did not fit into `maxTerms` and was left out. Pure.
 */
export function affinityPatch(
  { spec: { affinity } }: NewPod,
  placement: Placement,
  near: readonly NearTerm[],
  maxTerms: number,
): { readonly patch: readonly AddOperation[]; readonly tooMany: boolean } {
  const node = affinity?.nodeAffinity;
  const given = node?.[REQUIRED]?.nodeSelectorTerms ?? [];
  // A selector without terms matches no node: the API server refuses it, and it is not ours to make one that it takes.
  const isRefused = node?.[REQUIRED] != null && given.length === 0;
  const terms = isRefused ? given : narrowed(given, placement.required);
  const tooMany = terms.length > maxTerms && terms.length > given.length;
  const preferred = appended(node?.[PREFERRED] ?? [], placement.preferred);
  const together = appended(affinity?.podAffinity?.[PREFERRED] ?? [], near);
  const changes: [part: string, list: string, value: unknown][] = [];
  if (!tooMany && !isDeepStrictEqual(terms, given))
    changes.push(['nodeAffinity', REQUIRED, { nodeSelectorTerms: terms }]);
  if (preferred.length > (node?.[PREFERRED] ?? []).length) changes.push(['nodeAffinity', PREFERRED, preferred]);
  if (together.length > (affinity?.podAffinity?.[PREFERRED] ?? []).length)
    changes.push(['podAffinity', PREFERRED, together]);
  return { patch: operations(affinity, changes), tooMany };
}

function operations(
  affinity: object | null | undefined,
  changes: readonly [string, string, unknown][],
): AddOperation[] {
  const patch: AddOperation[] = [];
  if (changes.length > 0 && affinity == null) patch.push({ op: 'add', path: pointer(...AFFINITY), value: {} });
  for (const part of new Set(changes.map(([name]) => name))) {
    if (Reflect.get(Object(affinity), part) == null)
      patch.push({ op: 'add', path: pointer(...AFFINITY, part), value: {} });
  }
  const added = changes.map(([part, list, value]) => {
    return { op: 'add', path: pointer(...AFFINITY, part, list), value } as const;
  });
  return [...patch, ...added];
}
