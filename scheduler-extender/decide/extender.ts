import { NabuError } from '../../common/errors/index.ts';
import { type ClusterIndex, NO_SLOT } from '../cluster/index.ts';
import { FilterPass, type FilterRules, freedBy, PASSED, type Refusal } from '../filter/index.ts';
import { type PodFacts, podFacts } from '../kube/index.ts';
import { type Need, type NeedRules, needOf } from '../need/index.ts';
import type { Reservations } from '../reservations/index.ts';
import { LoadTimes, type ScoreWeights, scoreNodes } from '../score/index.ts';
import {
  type Candidates,
  filterResult,
  hostPriorities,
  parseExtenderArgs,
  parsePreemptionArgs,
  preemptionResult,
  REPEATED,
} from '../wire/index.ts';
import { CandidateSlots } from './candidate-slots.ts';
import { type Explanation, explainNode } from './explanation.ts';
import { PreparedOrder } from './prepared-order.ts';

export type DecisionRules = {
  readonly need: NeedRules;
  readonly filter: FilterRules;
  readonly weights: ScoreWeights;
};

export type ExtenderOptions = {
  readonly index: ClusterIndex;
  readonly reservations: Reservations;
  readonly rules: DecisionRules;
  /** What people have to know of the age of what is known, as the end of a sentence; '' while all is fresh. */
  readonly staleness?: () => string;
  /** Is told when a pod can go nowhere, and somewhere for want of capacity. */
  readonly onLackingRoom?: () => void;
};

export type FilterCounts = { readonly candidates: number; readonly passed: number };

/**
 * The three verbs from bytes to bytes. Nothing here waits, so that two requests never see each other's half. Throws INVALID_ARGUMENT
 * for a body that is none, and UNAVAILABLE for a pod whose claims have not been heard of yet.
 */
export class Extender {
  readonly #index: ClusterIndex;
  readonly #reservations: Reservations;
  readonly #rules: DecisionRules;
  readonly #staleness: () => string;
  readonly #onLackingRoom: (() => void) | undefined;
  readonly #slots = new CandidateSlots();
  readonly #prepared: PreparedOrder;
  #verdicts = new Int32Array(1024);

  constructor({ index, reservations, rules, staleness = () => '', onLackingRoom }: ExtenderOptions) {
    this.#index = index;
    this.#prepared = new PreparedOrder(index);
    this.#reservations = reservations;
    this.#rules = rules;
    this.#staleness = staleness;
    this.#onLackingRoom = onLackingRoom;
  }

  /** An ExtenderArgs to an ExtenderFilterResult. Charges what the pod will take, when any node passes. */
  filter(body: Uint8Array): { readonly answer: Buffer; readonly counts: FilterCounts } {
    const { pod, candidates } = parseExtenderArgs(body);
    const need = this.#needOf(podFacts(pod));
    const pass = new FilterPass(need, this.#index, this.#reservations, this.#rules.filter);
    const verdicts = this.#verdictsFor(candidates.count);
    const slots = this.#slots.find(candidates, this.#index.nodes);
    const { count } = candidates;
    let passed = 0;
    for (let at = 0; at < count; at++) {
      const slot = slots[at] ?? NO_SLOT;
      const verdict = slot === REPEATED ? REPEATED : pass.of(slot);
      verdicts[at] = verdict;
      if (verdict === PASSED) passed++;
    }
    this.#charge(need, passed);
    if (passed === 0 && pass.lacksRoom) this.#onLackingRoom?.();
    const refusals = this.#told(pass.refusals.list);
    return { answer: filterResult({ candidates, verdicts, refusals }), counts: { candidates: count, passed } };
  }

  /** An ExtenderArgs to a HostPriorityList. */
  prioritize(body: Uint8Array): Buffer {
    return this.#prepared.find(body) ?? this.#order(body).answer;
  }

  /** Works out what prioritize answers to that body, for the scheduler that will ask it next. Does nothing for a large one. */
  prepare(body: Uint8Array): void {
    if (!this.#prepared.takes(body)) return;
    try {
      const { answer, facts } = this.#order(body);
      // What others hold on a node, and where the pods are that it wants to be near to.
      this.#prepared.keep(body, answer, { dependsOnPods: facts.devices.size > 0 || facts.annotations.near !== '' });
    } catch {
      // Nothing is prepared: the one who asks meets the same, and is told.
    }
  }

  #order(body: Uint8Array): { readonly answer: Buffer; readonly facts: PodFacts } {
    const { pod, candidates } = parseExtenderArgs(body);
    const facts = podFacts(pod);
    return { answer: hostPriorities(candidates, this.#scores(this.#needOf(facts), candidates)), facts };
  }

  /**
   * An ExtenderPreemptionArgs to an ExtenderPreemptionResult: the nodes on which the pods that would go are enough for us, and no
   * node for which preemption would be in vain.
   */
  preempt(body: Uint8Array): string {
    const { pod, victims } = parsePreemptionArgs(body);
    const need = this.#needOf(podFacts(pod));
    const pass = new FilterPass(need, this.#index, this.#reservations, this.#rules.filter);
    return preemptionResult(
      victims.filter(({ node, podUids }) => {
        const slot = this.#index.nodes.names.find(node);
        return pass.of(slot, freedBy(podUids, slot, this.#index)) === PASSED;
      }),
    );
  }

  /** Filter and score of every candidate with their reasons, for people: charges nothing. */
  explain(body: Uint8Array): Explanation {
    const { pod, candidates } = parseExtenderArgs(body);
    const need = this.#needOf(podFacts(pod));
    const pass = new FilterPass(need, this.#index, this.#reservations, this.#rules.filter);
    const times = new LoadTimes(need, this.#index, this.#rules.weights);
    const scores = Int32Array.from(this.#scores(need, candidates).subarray(0, candidates.count));
    const slots = this.#slots.find(candidates, this.#index.nodes);
    const nodes = Array.from({ length: candidates.count }, (_, at) => ({ at, slot: slots[at] ?? NO_SLOT }))
      .filter(({ slot }) => slot !== REPEATED)
      .map(({ at, slot }) => {
        const verdict = pass.of(slot);
        const refusal = verdict === PASSED ? undefined : pass.refusals.list[verdict];
        return explainNode({ candidates, at, slot, refusal, score: scores[at] ?? 0, times, index: this.#index });
      });
    return {
      pod: need.pod,
      locality: need.locality,
      reads: need.readings.map(({ what, bytes }) => ({ what, bytes: Math.round(bytes) })),
      newVolumes: need.wanted.map(({ claimKey, className, sizeBytes, policy }) => {
        return { claim: claimKey, class: className, policy: policy.name, sizeBytes };
      }),
      stale: this.#staleness(),
      nodes: nodes.sort(
        (a, b) => Number(a.refused !== undefined) - Number(b.refused !== undefined) || b.score - a.score,
      ),
    };
  }

  #needOf(facts: PodFacts): Need {
    const need = needOf(facts, this.#index, this.#rules.need);
    if (need.unknown.length === 0) return need;
    throw NabuError.of('UNAVAILABLE', {
      target: need.unknown.join(', '),
      reason: `NabuStore has not heard of it yet and will be asked again${this.#staleness()}`,
    });
  }

  #scores(need: Need, candidates: Candidates): Int32Array {
    const scores = this.#verdictsFor(candidates.count);
    const slots = this.#slots.find(candidates, this.#index.nodes);
    const times = new LoadTimes(need, this.#index, this.#rules.weights);
    scoreNodes(times, slots, candidates.count, this.#rules.weights, scores);
    return scores;
  }

  #charge(need: Need, passed: number): void {
    if (passed === 0) {
      this.#reservations.withdraw(need.pod.uid);
      return;
    }
    if (need.wanted.length === 0) return;
    const reserved = need.wanted.map(({ claimKey, rawBytes }) => {
      return { claimKey, rawBytes, claimUid: this.#index.claims.find(claimKey)?.uid ?? '' };
    });
    this.#reservations.promise(need.pod.uid, reserved);
  }

  #told(refusals: readonly Refusal[]): readonly Refusal[] {
    const staleness = refusals.length === 0 ? '' : this.#staleness();
    return staleness === ''
      ? refusals
      : refusals.map(({ reason, resolvable }) => ({ reason: `${reason}${staleness}`, resolvable }));
  }

  #verdictsFor(count: number): Int32Array {
    if (this.#verdicts.length < count) this.#verdicts = new Int32Array(count * 2);
    return this.#verdicts;
  }
}
