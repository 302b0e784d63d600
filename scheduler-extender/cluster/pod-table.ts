import type { PodFacts } from '../kube/index.ts';
import type { ClaimTable } from './claim-table.ts';
import { NO_SLOT, type Slot } from './name-table.ts';
import type { NodeTable } from './node-table.ts';

/** What is kept of a pod that has something of ours, or may have: claims by key. Of the others nothing is. */
export type KnownPod = {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** NO_SLOT while it is not bound. */
  readonly slot: Slot;
  readonly nominated: Slot;
  readonly claims: readonly string[];
  readonly devices: ReadonlyMap<string, number>;
  /** namespace/group, '' without one. */
  readonly group: string;
};

const NO_CLAIMS: readonly string[] = Object.freeze([]);

function isOfNoInterest({ ended, claims, devices, group }: PodFacts): boolean {
  return ended || (claims.length === 0 && devices.size === 0 && group === '');
}

export class PodTable {
  readonly #nodes: NodeTable;
  readonly #claims: ClaimTable;
  readonly #pods = new Map<string, KnownPod>();
  /** Where the members of a group are: how many on each node. */
  readonly #groups = new Map<string, Map<Slot, number>>();

  constructor(nodes: NodeTable, claims: ClaimTable) {
    this.#nodes = nodes;
    this.#claims = claims;
  }

  get count(): number {
    return this.#pods.size;
  }

  find(uid: string): KnownPod | undefined {
    return this.#pods.get(uid);
  }

  /** How many members of namespace/group run on each node. */
  groupSlots(group: string): ReadonlyMap<Slot, number> {
    return this.#groups.get(group) ?? new Map();
  }

  put(facts: PodFacts): void {
    const before = this.#pods.get(facts.uid);
    if (isOfNoInterest(facts)) {
      if (before !== undefined) this.remove(facts.uid);
      return;
    }
    // The new references first: a name that only this pod refers to keeps its slot.
    const pod = this.#entered(facts);
    if (before !== undefined) this.#leave(before);
    this.#pods.set(pod.uid, pod);
    this.#enter(pod);
  }

  /** Whether it was known. */
  remove(uid: string): boolean {
    const pod = this.#pods.get(uid);
    if (pod === undefined) return false;
    this.#pods.delete(uid);
    this.#leave(pod);
    return true;
  }

  #entered({ uid, namespace, name, node, nominatedNode, claims, devices, group }: PodFacts): KnownPod {
    return {
      uid,
      namespace,
      name,
      slot: node === '' ? NO_SLOT : this.#nodes.acquire(node),
      nominated: nominatedNode === '' || node !== '' ? NO_SLOT : this.#nodes.acquire(nominatedNode),
      claims: claims.length === 0 ? NO_CLAIMS : claims.map(({ key }) => key),
      devices,
      group: group === '' ? '' : `${namespace}/${group}`,
    };
  }

  #enter({ uid, slot, claims, devices, group }: KnownPod): void {
    for (const key of claims) this.#claims.addPod(key, uid, slot);
    if (slot === NO_SLOT) return;
    this.#nodes.useDevices(slot, devices, 1);
    if (group === '') return;
    const members = this.#groups.get(group) ?? new Map<Slot, number>();
    members.set(slot, (members.get(slot) ?? 0) + 1);
    this.#groups.set(group, members);
  }

  #leave({ uid, slot, nominated, claims, devices, group }: KnownPod): void {
    for (const key of claims) this.#claims.removePod(key, uid, slot);
    if (nominated !== NO_SLOT) this.#nodes.release(nominated);
    if (slot === NO_SLOT) return;
    this.#nodes.useDevices(slot, devices, -1);
    this.#leaveGroup(group, slot);
    this.#nodes.release(slot);
  }

  #leaveGroup(group: string, slot: Slot): void {
    const members = this.#groups.get(group);
    if (members === undefined) return;
    const left = (members.get(slot) ?? 0) - 1;
    if (left > 0) members.set(slot, left);
    else members.delete(slot);
    if (members.size === 0) this.#groups.delete(group);
  }
}
