import type { ClusterIndex, PlaceId, Slot } from '../cluster/index.ts';
import type { DecisionRules } from '../decide/index.ts';
import { FilterPass, NO_HOLDS, PASSED } from '../filter/index.ts';
import type { PlaceLabels } from '../kube/index.ts';
import type { Need } from '../need/index.ts';
import { LoadTimes, type ScoreWeights } from '../score/index.ts';
import { onNode, type PreferredTerm, type Term } from './node-terms.ts';
import { PlaceTerms } from './place-terms.ts';
import type { PlacementRules } from './placement-rules.ts';

export type PlacementKnowledge = {
  readonly index: ClusterIndex;
  readonly rules: DecisionRules;
  readonly placement: PlacementRules;
  readonly labels: PlaceLabels;
};

/** Weights in steps, so that places nearly alike share a term. */
const STEP = 10;
const MOST_WEIGHT = 100;
const ANY_TAINT = { key: '', operator: 'Exists', value: '', effect: '' };

function presentSlots({ nodes }: ClusterIndex): Slot[] {
  const slots: Slot[] = [];
  for (let slot = 0; slot < nodes.names.limit; slot++) if (nodes.present[slot] === 1) slots.push(slot);
  return slots;
}

const valuesIn = (terms: readonly Term[]): number =>
  terms.flatMap(({ matchExpressions }) => (matchExpressions ?? []).flatMap(({ values }) => values ?? [])).length;

/** Nodes that have a part of what the pod reads themselves. */
function holdersOf({ readings }: Need): ReadonlySet<Slot> {
  return new Set(readings.flatMap(({ spread }) => [...spread.hosts.keys()]));
}

/**
 * Where the pod must be to be near to its data, as alternatives over labels: empty where that is everywhere, undefined where it is nowhere
 * or not said in few enough terms. By the filter's own judgement of locality; what heals (taints, capacity, devices) is left to it.
 * Pure.
 */
export function requiredTerms(need: Need, knowledge: PlacementKnowledge): readonly Term[] | undefined {
  if (need.locality !== 'required' || !need.readings.some(({ isAnchor }) => isAnchor)) return [];
  const { index, rules, labels, placement } = knowledge;
  const bare: Need = { ...need, made: [], wanted: [], devices: new Map(), faults: [], tolerations: [ANY_TAINT] };
  const pass = new FilterPass(bare, index, NO_HOLDS, rules.filter);
  const all = new Set<PlaceId>();
  const near = new Set<PlaceId>();
  const holders = holdersOf(need);
  for (const slot of presentSlots(index)) {
    const place = index.nodes.place[slot] ?? 0;
    const isJudged = all.has(place) && (near.has(place) || !holders.has(slot));
    if (isJudged) continue; // of a place one is as near as another, but for those that hold something themselves
    all.add(place);
    if (pass.of(slot) === PASSED) near.add(place);
  }
  if (near.size === 0) return undefined;
  if (near.size === all.size) return [];
  const terms = new PlaceTerms(all, index, labels).of(near);
  return terms.length <= placement.maxRequiredTerms && valuesIn(terms) <= placement.maxValues ? terms : undefined;
}

/** 0 to 100, by ratios as the score is. */
function worthOf(seconds: number, best: number, { insignificantS, worstRatio }: ScoreWeights): number {
  const ratio = (seconds + insignificantS) / (best + insignificantS);
  const worth = MOST_WEIGHT * (1 - Math.log(ratio) / Math.log(worstRatio));
  return Math.min(Math.max(Math.round(worth / STEP) * STEP, 0), MOST_WEIGHT);
}

/**
 * Where the pod has its data soonest, as weighted terms: places by their labels, nodes that hold something themselves by name. `few`:
 * only what is much better than all but a few, which a scheduler that looks at some nodes would miss; otherwise all that is better than
 * the worst. Pure.
 */
export function preferredTerms(need: Need, knowledge: PlacementKnowledge, few: boolean): readonly PreferredTerm[] {
  const { index, rules, labels, placement } = knowledge;
  const times = new LoadTimes(need, index, rules.weights);
  const slots = presentSlots(index);
  if (times.isTrivial || slots.length === 0) return [];
  // Locality is what the seconds are about: a sentence for each node that is too far would cost more than all of them.
  const pass = new FilterPass({ ...need, locality: 'preferred' }, index, NO_HOLDS, rules.filter);
  const seconds = slots.map((slot) => (pass.of(slot) === PASSED ? times.secondsAt(slot) : Number.POSITIVE_INFINITY));
  const sorted = Float64Array.from(seconds).sort();
  const best = sorted[0] ?? Number.POSITIVE_INFINITY;
  if (best === Number.POSITIVE_INFINITY) return [];
  const { insignificantS } = rules.weights;
  const other = sorted[Math.max(1, Math.floor(slots.length * placement.fewShare))] ?? best;
  const most = few ? (other + insignificantS) / placement.betterRatio - insignificantS : Number.POSITIVE_INFINITY;
  if (best > most) return [];
  const worth = (time: number): number => (time <= most ? worthOf(time, best, rules.weights) : 0);

  const holders = holdersOf(need);
  const places = new Map<PlaceId, number>();
  for (const [at, slot] of slots.entries()) {
    const place = index.nodes.place[slot] ?? 0;
    const own = holders.has(slot) ? 0 : worth(seconds[at] ?? Number.POSITIVE_INFINITY);
    places.set(place, Math.max(places.get(place) ?? 0, own));
  }
  const everywhere = Math.min(...places.values());
  const onNodes = slots.flatMap((slot, at) => {
    const over = worth(seconds[at] ?? Number.POSITIVE_INFINITY) - (places.get(index.nodes.place[slot] ?? 0) ?? 0);
    return holders.has(slot) && over > 0 ? [{ weight: over, preference: onNode(index.nodes.names.nameOf(slot)) }] : [];
  });
  onNodes.sort((a, b) => b.weight - a.weight);
  const inPlaces = placeTerms(places, everywhere, new PlaceTerms(places.keys(), index, labels));
  return bounded([...inPlaces, ...onNodes.slice(0, placement.maxNodes)], placement);
}

function placeTerms(worths: ReadonlyMap<PlaceId, number>, everywhere: number, terms: PlaceTerms): PreferredTerm[] {
  const levels = [...new Set(worths.values())].filter((worth) => worth > everywhere).sort((a, b) => b - a);
  return levels.flatMap((level) => {
    const alike = new Set([...worths].filter(([, worth]) => worth === level).map(([place]) => place));
    return terms.of(alike).map((preference) => ({ weight: level - everywhere, preference }));
  });
}

/** The weightiest first. A preference that is missing costs some time and nothing else. */
function bounded(terms: readonly PreferredTerm[], { maxPreferredTerms, maxValues }: PlacementRules): PreferredTerm[] {
  let values = 0;
  return [...terms]
    .sort((a, b) => b.weight - a.weight)
    .filter(({ preference }) => {
      const more = valuesIn([preference]);
      if (values + more > maxValues) return false;
      values += more;
      return true;
    })
    .slice(0, maxPreferredTerms);
}
