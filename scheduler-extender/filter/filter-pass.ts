import { type ClusterIndex, NO_LIMIT, type Place, type Slot } from '../cluster/index.ts';
import { DRIVER } from '../kube/index.ts';
import type { Need, Reading } from '../need/index.ts';
import { PASSED, Refusals } from './refusals.ts';
import { untolerated } from './tolerates.ts';
import {
  type CapacityHolds,
  refuseForPublished,
  refuseForSpace,
  refusePlacing,
  refuseReaching,
} from './zone-checks.ts';

export type FilterRules = {
  /** Of what a pod must be near to, how much has to lie in the node's rack (or on its rail, or on it), 0 to 1. */
  readonly requiredShare: number;
};

export const DEFAULT_FILTER_RULES: FilterRules = { requiredShare: 0.5 };

/** What preemption would take from a node. */
export type Freed = {
  readonly podUids: ReadonlySet<string>;
  /** Volumes of ours that only these pods use. */
  readonly volumes: number;
  readonly devices: ReadonlyMap<string, number>;
};

const NOTHING_FREED: Freed = { podUids: new Set(), volumes: 0, devices: new Map() };
const UNJUDGED = -2;

/** A volume that one node at a time may use, and where it is in use. */
type Exclusive = {
  readonly claimKey: string;
  readonly slots: ReadonlyMap<Slot, number>;
  /** Only one pod may use it at all: those that do, without ours. */
  readonly podUids: readonly string[] | undefined;
};

/**
 * Whether nodes can take one pod. What is the same for all nodes, or for those of a zone, is judged once; a node then costs a few
 * comparisons. Pure: reads the index and the holds, keeps nothing beyond the request.
 */
export class FilterPass {
  readonly refusals = new Refusals();
  readonly #need: Need;
  readonly #index: ClusterIndex;
  readonly #holds: CapacityHolds;
  readonly #rules: FilterRules;
  /** Against every node. */
  readonly #common: number;
  readonly #byZone: Int32Array;
  readonly #usesVolumes: boolean;
  readonly #usesStorage: boolean;
  /** It has nothing of ours after all: no node is worse for it than another. */
  readonly #isNotOurs: boolean;
  readonly #newVolumes: number;
  readonly #exclusive: readonly Exclusive[];
  readonly #anchors: readonly Reading[];
  readonly #isPerNode: boolean;
  #lacksRoom = false;

  constructor(need: Need, index: ClusterIndex, holds: CapacityHolds, rules: FilterRules) {
    this.#need = need;
    this.#index = index;
    this.#holds = holds;
    this.#rules = rules;
    this.#byZone = new Int32Array(index.nodes.places.count).fill(UNJUDGED);
    this.#usesVolumes = need.made.length + need.wanted.length > 0;
    this.#usesStorage = this.#usesVolumes || need.readings.length > 0;
    this.#isNotOurs = !this.#usesStorage && need.devices.size === 0;
    this.#newVolumes = need.made.length + need.wanted.length;
    this.#exclusive = exclusiveOf(need, index);
    this.#anchors = need.locality === 'required' ? need.readings.filter(({ isAnchor }) => isAnchor) : [];
    this.#isPerNode = need.wanted.some(({ className }) => index.capacities.isPerNode(className));
    this.#common = this.#judgeAll();
  }

  /** Whether some node, or all, were refused for want of capacity: that may come back without a word of the API. */
  get lacksRoom(): boolean {
    return this.#lacksRoom;
  }

  /** PASSED, or the number of a refusal. A slot below 0 is a node that nobody has told us of. */
  of(slot: Slot, freed: Freed = NOTHING_FREED): number {
    const { nodes } = this.#index;
    if (this.#common !== PASSED || this.#isNotOurs) return this.#common;
    if (slot < 0 || nodes.present[slot] !== 1)
      return this.refusals.of('NabuStore has not heard of this node yet', false);
    if (this.#usesVolumes && nodes.hasDriver[slot] !== 1)
      return this.refusals.of(`the NabuStore plugin (${DRIVER}) is not registered on this node`, false);
    if (this.#usesStorage) {
      const verdict = nodes.tainted[slot] === 1 ? this.#judgeTaints(slot) : PASSED;
      if (verdict !== PASSED) return verdict;
      const place = nodes.place[slot] ?? 0;
      const zoned = this.#ofZone(nodes.places.zone[place] ?? 0, slot);
      if (zoned !== PASSED) return zoned;
      const near = this.#anchors.length === 0 ? PASSED : this.#judgeLocality(slot, nodes.places.at(place));
      if (near !== PASSED) return near;
    }
    if (this.#usesVolumes) {
      const attached = this.#judgeAttachment(slot, freed);
      if (attached !== PASSED) return attached;
    }
    return this.#need.devices.size === 0 ? PASSED : this.#judgeDevices(slot, freed);
  }

  #judgeAll(): number {
    const fault = this.#need.faults[0] ?? this.#ofRoom(refuseForSpace(this.#need, this.#index, this.#holds));
    return fault === undefined ? PASSED : this.refusals.of(fault, false);
  }

  #ofZone(zone: number, slot: Slot): number {
    let verdict = this.#byZone[zone] ?? UNJUDGED;
    if (verdict === UNJUDGED) {
      verdict = this.#judgeZone(this.#index.nodes.places.zoneName(zone));
      this.#byZone[zone] = verdict;
    }
    if (verdict !== PASSED || !this.#isPerNode) return verdict;
    const { nodes } = this.#index;
    const reason = this.#refuseForPublished(nodes.places.zoneName(zone), nodes.names.nameOf(slot));
    return reason === undefined ? PASSED : this.refusals.of(reason, false);
  }

  #judgeZone(zone: string): number {
    const reason = this.#refuseZone(zone);
    return reason === undefined ? PASSED : this.refusals.of(reason, false);
  }

  #refuseZone(zone: string): string | undefined {
    const { storage } = this.#index;
    if (!storage.isUnknown && !storage.zones.has(zone))
      return `no storage node is in zone ${zone}, there are some in ${[...storage.zones].sort().join(', ')}`;
    for (const made of this.#need.made) {
      const reason = refuseReaching(made, zone, this.#index);
      if (reason !== undefined) return reason;
    }
    for (const wanted of this.#need.wanted) {
      const reason = storage.isUnknown ? undefined : refusePlacing(wanted, zone, this.#index);
      if (reason !== undefined) return reason;
    }
    return this.#isPerNode ? undefined : this.#refuseForPublished(zone, '');
  }

  #refuseForPublished(zone: string, node: string): string | undefined {
    return this.#ofRoom(refuseForPublished(this.#need, this.#index, this.#holds, zone, node));
  }

  #ofRoom(reason: string | undefined): string | undefined {
    if (reason !== undefined) this.#lacksRoom = true;
    return reason;
  }

  #judgeTaints(slot: Slot): number {
    const taint = untolerated(this.#index.nodes.taintsOf(slot), this.#need.tolerations);
    if (taint === undefined) return PASSED;
    const said = `${taint.key}${taint.value === '' ? '' : `=${taint.value}`}`;
    return this.refusals.of(`the taint ${said} says that storage cannot be reached from this node`, false);
  }

  #judgeLocality(slot: Slot, { rack, rail }: Place): number {
    for (const { what, spread } of this.#anchors) {
      const shares = [spread.hosts.get(slot), spread.rails.get(rail), spread.racks.get(rack)];
      const share = Math.max(...shares.map((part) => part?.share ?? 0));
      if (share >= this.#rules.requiredShare) continue;
      const path = this.#index.nodes.places.rackPath(rack);
      const percent = (part: number): number => Math.round(part * 100);
      return this.refusals.of(
        `the pod must be near to ${what}: ${percent(share)} % of it is in rack ${path}, ${percent(this.#rules.requiredShare)} % are asked for`,
        false,
      );
    }
    return PASSED;
  }

  #judgeAttachment(slot: Slot, freed: Freed): number {
    for (const { claimKey, slots, podUids } of this.#exclusive) {
      if (slots.size > 0 && !slots.has(slot)) {
        const elsewhere = this.#index.nodes.names.nameOf(slots.keys().next().value ?? 0);
        return this.refusals.of(
          `volume ${claimKey} is in use on node ${elsewhere}, and one node at a time may use it`,
          false,
        );
      }
      if (podUids?.some((uid) => !freed.podUids.has(uid)) === true)
        return this.refusals.of(`volume ${claimKey} is ReadWriteOncePod and another pod uses it`, true);
    }
    const limit = this.#index.nodes.attachLimit[slot] ?? NO_LIMIT;
    if (limit === NO_LIMIT) return PASSED;
    const attached = (this.#index.nodes.attached[slot] ?? 0) - freed.volumes;
    const further = this.#furtherVolumes(slot);
    if (attached + further <= limit) return PASSED;
    const what = `${further} more volume${further === 1 ? '' : 's'} of NabuStore cannot be attached: ${attached} of at most ${limit} are`;
    return this.refusals.of(what, further <= limit);
  }

  /** What other pods on the node use already is attached. */
  #furtherVolumes(slot: Slot): number {
    let further = this.#newVolumes;
    for (const { claimKey } of this.#need.made) if (this.#index.claims.use(claimKey).slots.has(slot)) further--;
    return further;
  }

  #judgeDevices(slot: Slot, freed: Freed): number {
    for (const [resource, wanted] of this.#need.devices) {
      const column = this.#index.nodes.devices(resource);
      // Of mode `dra`: not in allocatable, handed out by the scheduler for claims that it makes of such requests.
      const claimable = this.#index.slices.units(slot, resource)?.total ?? 0;
      const total = (column?.total[slot] ?? 0) + claimable;
      const used = (column?.used[slot] ?? 0) - (freed.devices.get(resource) ?? 0);
      if (wanted <= total - used) continue;
      const said = total === 0 ? 'the node has none' : `${Math.max(0, total - used)} of its ${total} are free`;
      return this.refusals.of(`${wanted} ${resource} are asked for, ${said}`, wanted <= total);
    }
    return PASSED;
  }
}

function exclusiveOf(need: Need, index: ClusterIndex): Exclusive[] {
  return need.made.flatMap(({ claimKey, accessModes }) => {
    const isForOnePod = accessModes.includes('ReadWriteOncePod');
    // Our volumes have one writer's node at a time, whatever else the claim allows.
    const { slots, pods } = index.claims.use(claimKey);
    if (slots.size === 0) return [];
    const others = [...pods].filter((uid) => uid !== need.pod.uid && (index.pods.find(uid)?.slot ?? -1) >= 0);
    return [{ claimKey, slots, podUids: isForOnePod ? others : undefined }];
  });
}
