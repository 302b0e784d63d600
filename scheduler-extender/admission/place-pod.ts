import { z } from 'zod';
import { type AddOperation, type ParsedRequest, type PodReview, pointer } from '../../common/admission/index.ts';
import { ANNOTATION, GROUP_LABEL, type PodFacts } from '../kube/index.ts';
import { needOf } from '../need/index.ts';
import { affinityPatch, type NearTerm } from './affinity-patch.ts';
import { gatePatch, markerPatch } from './marker-patch.ts';
import { type NewPod, newPod, termSchema } from './new-pod.ts';
import type { Placement } from './node-terms.ts';
import { type PlacementKnowledge, preferredTerms, requiredTerms } from './placement-of.ts';
import { mayUseOurs } from './use-of-pod.ts';

export type Admission = PlacementKnowledge & {
  /** Pods of these schedulers are marked and gated: the extender is asked about them. */
  readonly schedulers: ReadonlySet<string>;
  /** Whether pods of other schedulers get what is known as preferences. */
  readonly advisesOthers: boolean;
  readonly gates: boolean;
  /** Pods of ours that name no scheduler get this one, which asks; '' leaves them with the default one. */
  readonly sendTo: string;
};

/** What was written, so that a second look writes the same whatever has become known since. */
export const PLACEMENT_ANNOTATION = 'nabustore.io/placement';
const DEFAULT_SCHEDULER = 'default-scheduler';
/** Of rack and zone; both count where both are the same. */
const NEAR_WEIGHTS = [60, 40] as const;
const ANNOTATION_LIMIT_CHARS = 64 << 10;
const MAX_NEAR = 16;

const placementSchema = z.strictObject({
  required: z.array(termSchema.pick({ matchExpressions: true })).max(256),
  preferred: z.array(z.object({ weight: z.int().min(1).max(100), preference: termSchema })).max(256),
});

function writtenBefore({ metadata }: NewPod): Placement | undefined {
  const text = metadata.annotations?.[PLACEMENT_ANNOTATION];
  if (text === undefined || text.length > ANNOTATION_LIMIT_CHARS) return undefined;
  try {
    const { success, data } = placementSchema.safeParse(JSON.parse(text));
    return success ? data : undefined;
  } catch (err) {
    if (err instanceof SyntaxError) return undefined; // somebody else's text: as if there were none
    throw err;
  }
}

function annotationPatch({ metadata }: NewPod, placement: Placement): readonly AddOperation[] {
  const text = JSON.stringify(placement);
  const path = ['metadata', 'annotations'];
  if (metadata.annotations == null)
    return [{ op: 'add', path: pointer(...path), value: { [PLACEMENT_ANNOTATION]: text } }];
  return [{ op: 'add', path: pointer(...path, PLACEMENT_ANNOTATION), value: text }];
}

/** Groups that the pod wants to be near to, for a scheduler that follows them itself. */
function nearTerms({ annotations, namespace }: PodFacts, { index, labels }: PlacementKnowledge): NearTerm[] {
  const named = annotations.near.split(',').map((name) => name.trim());
  const groups = named.flatMap((name) => {
    if (name.startsWith('group:')) return [name.slice('group:'.length)];
    const isClaim = name.includes(':') || index.claims.find(`${namespace}/${name}`) !== undefined;
    return isClaim || name === '' ? [] : [name];
  });
  const keys = [labels.rack[0], labels.zone[0]];
  return groups.slice(0, MAX_NEAR).flatMap((group) =>
    keys.flatMap((topologyKey, at) => {
      const labelSelector = { matchLabels: { [GROUP_LABEL]: group } };
      const weight = NEAR_WEIGHTS[at] ?? 1;
      return topologyKey === undefined ? [] : [{ weight, podAffinityTerm: { topologyKey, labelSelector } }];
    }),
  );
}

/**
 * What becomes of a pod that is to be made. A pod that has nothing of ours, or has its node, is never touched; nothing is refused.
 * Idempotent: what comes out goes through again without a change, and what was written once is not written otherwise when more has
 * become known. Pure.
 */
export function placePod(request: ParsedRequest, admission: Admission): PodReview {
  const pod = newPod(request);
  const { index, rules, placement: bounds } = admission;
  const untouched = { isAllowed: true, patch: [], warnings: [] } as const;
  const named = pod.spec.schedulerName || DEFAULT_SCHEDULER;
  const isSent = named === DEFAULT_SCHEDULER && admission.sendTo !== '';
  const scheduler = isSent ? admission.sendTo : named;
  const isAsking = admission.schedulers.has(scheduler);
  if ((pod.spec.nodeName ?? '') !== '' || (!isAsking && !admission.advisesOthers)) return untouched;
  const handedOut = isAsking ? handedOutByScheduler(pod, index) : undefined;
  const isAsked = isAsking && handedOut === undefined;
  const need = needOf(pod.facts, index, rules.need);
  if (!mayUseOurs(pod.facts, need, index)) return untouched;

  const warnings: string[] = handedOut === undefined ? [] : [unasked(handedOut)];
  const before = writtenBefore(pod);
  let written = before;
  if (written === undefined) {
    const required = requiredTerms(need, admission);
    if (required === undefined || (need.locality === 'required' && need.faults.length > 0 && !isAsked))
      warnings.push(unplaced(isAsked));
    written = { required: required ?? [], preferred: preferredTerms(need, admission, isAsked) };
  }
  const near = isAsked ? [] : nearTerms(pod.facts, admission);
  const { patch: affinity, tooMany } = affinityPatch(pod, written, near, bounds.maxRequiredTerms);
  if (tooMany)
    warnings.push(`${ANNOTATION.locality}: with the pod's own node affinity that is too many terms, none was written`);
  const isWorthNoting = before === undefined && written.required.length + written.preferred.length > 0;
  const patch = [
    ...(scheduler === named || !isAsked
      ? []
      : [{ op: 'add', path: pointer('spec', 'schedulerName'), value: scheduler } as const]),
    ...(isAsked ? markerPatch(pod) : []),
    ...affinity,
    ...(isWorthNoting ? annotationPatch(pod, written) : []),
    ...(isAsked && admission.gates ? gatePatch(pod) : []),
  ];
  return { isAllowed: true, patch, warnings };
}

/**
 * Kubernetes 1.36, DynamicResources, filterExtendedResources: of a pod that asks for a device of a class by an extended resource, that plugin
 * looks for every extended resource on the node, those that are to be ignored too. With our mark such a pod fits nowhere.
 */
function handedOutByScheduler({ spec }: NewPod, index: PlacementKnowledge['index']): string | undefined {
  const containers = [...spec.containers, ...(spec.initContainers ?? [])];
  const asked = containers.flatMap(({ resources }) => [resources?.limits, resources?.requests]);
  return asked.flatMap((amounts) => Object.keys(amounts ?? {})).find((name) => index.deviceClasses.isMapped(name));
}

function unasked(resource: string): string {
  return `${resource} is handed out by the scheduler itself, and then it can ask nobody about this pod: where its data is was written as affinity`;
}

function unplaced(isAsked: boolean): string {
  const then = isAsked ? 'the scheduler will be told' : 'nothing was required, the pod may go anywhere';
  return `${ANNOTATION.locality}: no node is known to be near to what the pod reads; ${then}`;
}
