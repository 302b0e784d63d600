import { shardCount } from '../../engine/blob/index.ts';
import { type ClusterIndex, type Kind, NO_SLOT } from '../cluster/index.ts';
import { type NeedRules, wantedVolume } from '../need/index.ts';
import type { Reservations, Reserved } from './reservations.ts';

/** external-provisioner, the name of a volume: its prefix and the claim's UID. */
const VOLUME_PREFIX = 'pvc-';

/**
 * Lets what the API shows replace what filter promised: the node that a claim was decided for, the volume, the record, a nominated
 * pod. It makes charges that nobody here promised, too: another scheduler's, or a leader's before us.
 */
export class ReservationKeeper {
  readonly #index: ClusterIndex;
  readonly #reservations: Reservations;
  readonly #rules: NeedRules;
  readonly #stop: () => void;
  /** What each published capacity said last, in bytes of data. */
  readonly #published = new Map<string, number>();

  constructor(index: ClusterIndex, reservations: Reservations, rules: NeedRules) {
    this.#index = index;
    this.#reservations = reservations;
    this.#rules = rules;
    for (const { key } of index.claims.facts()) this.#claimChanged(key);
    this.#stop = index.onChange((kind, key) => this.#changed(kind, key));
  }

  close(): void {
    this.#stop();
  }

  #changed(kind: Kind, key: string): void {
    if (kind === 'claim') this.#claimChanged(key);
    else if (kind === 'pod') this.#podChanged(key);
    else if (kind === 'record') this.#recordChanged(key);
    else if (kind === 'capacity') this.#capacityChanged(key);
  }

  #claimChanged(key: string): void {
    const facts = this.#index.claims.find(key);
    if (facts === undefined) this.#reservations.drop(key);
    else if (facts.volumeName !== '') this.#bound(key, facts.uid);
    else if (facts.selectedNode !== '') {
      const reserved = this.#reservedFor(key);
      if (reserved === undefined || this.#index.storage.hasRecordNamed(VOLUME_PREFIX + facts.uid)) return;
      this.#reservations.provisioning(reserved);
    } else this.#reservations.gaveUp(key);
  }

  /** Where control tells of volumes, its record replaces the charge, and may come later than the binding. */
  #bound(key: string, uid: string): void {
    const { storage } = this.#index;
    if (storage.isUnknown || storage.hasRecordNamed(VOLUME_PREFIX + uid)) this.#reservations.made(key);
  }

  #podChanged(uid: string): void {
    const pod = this.#index.pods.find(uid);
    if (pod === undefined) this.#reservations.withdraw(uid);
    else if (pod.slot === NO_SLOT && pod.nominated !== NO_SLOT) {
      const reserved = pod.claims.flatMap((key) => this.#reservedFor(key) ?? []);
      this.#reservations.promise(uid, reserved);
    }
  }

  #recordChanged(id: string): void {
    const name = this.#index.storage.record(id)?.name;
    if (name?.startsWith(VOLUME_PREFIX) === true) this.#reservations.madeFor(name.slice(VOLUME_PREFIX.length));
  }

  /** Undefined where nothing of ours is to be made for the claim. */
  #reservedFor(key: string): Reserved | undefined {
    const facts = this.#index.claims.find(key);
    if (facts === undefined || facts.volumeName !== '') return undefined;
    const wanted = wantedVolume(key, facts, this.#index, this.#rules);
    if (wanted === undefined || typeof wanted === 'string') return undefined;
    return { claimKey: key, claimUid: facts.uid, rawBytes: wanted.rawBytes };
  }

  #capacityChanged(key: string): void {
    const facts = this.#index.capacities.find(key);
    const before = this.#published.get(key);
    if (facts?.capacityBytes === undefined) {
      this.#published.delete(key);
      this.#reservations.unpublished(key);
      return;
    }
    const wish = this.#index.classes.find(facts.className)?.wish;
    const policy = (typeof wish === 'object' ? wish.policy : undefined) ?? this.#rules.defaultPolicy;
    const fallenBytes = (before ?? 0) - facts.capacityBytes;
    this.#published.set(key, facts.capacityBytes);
    this.#reservations.published(key, (fallenBytes * shardCount(policy)) / policy.k);
  }
}
