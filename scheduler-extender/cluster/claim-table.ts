import type { ClaimFacts, PersistentVolumeFacts } from '../kube/index.ts';
import { NO_SLOT, type Slot } from './name-table.ts';
import type { NodeTable } from './node-table.ts';

/** A claim, those who use it, and where. Either side may be known first. */
class Claim {
  facts: ClaimFacts | undefined;
  /** Bound to a volume of ours: it counts as attached where pods use it. */
  isOurs = false;
  readonly pods = new Set<string>();
  /** How many pods use it on each node. */
  readonly slots = new Map<Slot, number>();
}

export type ClaimUse = { readonly pods: ReadonlySet<string>; readonly slots: ReadonlyMap<Slot, number> };

const UNUSED: ClaimUse = { pods: new Set(), slots: new Map() };

/** Claims and persistent volumes, and how many volumes of ours each node has attached: a number kept, never counted. */
export class ClaimTable {
  readonly #nodes: NodeTable;
  readonly #claims = new Map<string, Claim>();
  /** By name; what another driver holds is kept as undefined. */
  readonly #volumes = new Map<string, PersistentVolumeFacts | undefined>();
  readonly #claimOfVolume = new Map<string, string>();

  constructor(nodes: NodeTable) {
    this.#nodes = nodes;
  }

  get count(): number {
    return this.#claims.size;
  }

  find(key: string): ClaimFacts | undefined {
    return this.#claims.get(key)?.facts;
  }

  use(key: string): ClaimUse {
    return this.#claims.get(key) ?? UNUSED;
  }

  /** Whether the volume is known at all, and what it is if it is ours. */
  volume(name: string): { readonly isKnown: boolean; readonly facts: PersistentVolumeFacts | undefined } {
    return { isKnown: this.#volumes.has(name), facts: this.#volumes.get(name) };
  }

  *facts(): Generator<ClaimFacts> {
    for (const { facts } of this.#claims.values()) if (facts !== undefined) yield facts;
  }

  put(facts: ClaimFacts): void {
    const claim = this.#claim(facts.key);
    this.#unlink(claim);
    claim.facts = facts;
    if (facts.volumeName !== '') this.#claimOfVolume.set(facts.volumeName, facts.key);
    this.#judge(claim);
  }

  remove(key: string): void {
    const claim = this.#claims.get(key);
    if (claim === undefined) return;
    this.#unlink(claim);
    claim.facts = undefined;
    this.#judge(claim);
    this.#forgetUnused(key, claim);
  }

  putVolume(facts: PersistentVolumeFacts): void {
    this.#volumes.set(facts.name, facts.handle === '' ? undefined : facts);
    this.#judgeVolume(facts.name);
  }

  removeVolume(name: string): void {
    this.#volumes.delete(name);
    this.#judgeVolume(name);
  }

  /** A pod uses the claim, on a node unless that is NO_SLOT. */
  addPod(key: string, uid: string, slot: Slot): void {
    const claim = this.#claim(key);
    claim.pods.add(uid);
    if (slot === NO_SLOT) return;
    const users = claim.slots.get(slot) ?? 0;
    claim.slots.set(slot, users + 1);
    if (users === 0 && claim.isOurs) this.#attach(slot, 1);
  }

  removePod(key: string, uid: string, slot: Slot): void {
    const claim = this.#claims.get(key);
    if (claim === undefined) return;
    claim.pods.delete(uid);
    const users = slot === NO_SLOT ? 0 : (claim.slots.get(slot) ?? 0);
    if (users > 1) claim.slots.set(slot, users - 1);
    else if (users === 1) {
      claim.slots.delete(slot);
      if (claim.isOurs) this.#attach(slot, -1);
    }
    this.#forgetUnused(key, claim);
  }

  #claim(key: string): Claim {
    let claim = this.#claims.get(key);
    if (claim === undefined) {
      claim = new Claim();
      this.#claims.set(key, claim);
    }
    return claim;
  }

  #unlink({ facts }: Claim): void {
    if (facts !== undefined && this.#claimOfVolume.get(facts.volumeName) === facts.key) {
      this.#claimOfVolume.delete(facts.volumeName);
    }
  }

  #judgeVolume(name: string): void {
    const key = this.#claimOfVolume.get(name);
    const claim = key === undefined ? undefined : this.#claims.get(key);
    if (claim !== undefined) this.#judge(claim);
  }

  #judge(claim: Claim): void {
    const isOurs = claim.facts !== undefined && this.#volumes.get(claim.facts.volumeName) !== undefined;
    if (isOurs === claim.isOurs) return;
    claim.isOurs = isOurs;
    for (const slot of claim.slots.keys()) this.#attach(slot, isOurs ? 1 : -1);
  }

  #attach(slot: Slot, by: 1 | -1): void {
    this.#nodes.attached[slot] = (this.#nodes.attached[slot] ?? 0) + by;
  }

  #forgetUnused(key: string, claim: Claim): void {
    if (claim.facts === undefined && claim.pods.size === 0) this.#claims.delete(key);
  }
}
