import type { Clock } from '../../common/ports/index.ts';
import { SettledBytes } from './settled-bytes.ts';

/** A volume that will be made for a claim. */
export type Reserved = {
  /** namespace/name */
  readonly claimKey: string;
  /** '' while the claim itself has not been made. */
  readonly claimUid: string;
  readonly rawBytes: number;
};

export type ReservationTimes = {
  /** From the filter's word until the API shows what came of it. */
  readonly promisedMs: number;
  /** From the choice of a node until the volume is there. */
  readonly provisioningMs: number;
  /** From the volume until capacities that were published before are surely replaced. */
  readonly settlingMs: number;
};

export const DEFAULT_TIMES: ReservationTimes = { promisedMs: 30_000, provisioningMs: 300_000, settlingMs: 10_000 };

/** promised: filter said yes. provisioning: a node is chosen. */
const STAGES = ['promised', 'provisioning'] as const;
type Stage = (typeof STAGES)[number];

/** Less is what sums of fractions differ by. */
const LEAST_BYTES = 1;

type Charge = Reserved & { readonly podUid: string; readonly untilMs: number };

/**
 * Capacity that pods being placed will take and that nothing else shows yet: without it, a burst of pods sees the same free bytes
 * each. A charge is a claim's, made when filter lets its pod pass, kept by the pod's UID and for a time, and replaced step by step by
 * what the API shows. It counts everywhere: shards lie in all zones, whichever the pod is in. Each stage has one lifetime, so the
 * oldest charge is always the next to expire.
 */
export class Reservations {
  readonly #clock: Clock;
  readonly #times: ReservationTimes;
  readonly #settled: SettledBytes;
  readonly #stages: Readonly<Record<Stage, Map<string, Charge>>> = { promised: new Map(), provisioning: new Map() };
  readonly #ofPod = new Map<string, Set<string>>();
  readonly #ofClaimUid = new Map<string, string>();
  #heldBytes = 0;
  /** Of those held, of volumes that may be there already. */
  #provisioningBytes = 0;
  #returns = 0;

  constructor(clock: Clock, times: ReservationTimes = DEFAULT_TIMES) {
    this.#clock = clock;
    this.#times = times;
    this.#settled = new SettledBytes(clock, times.settlingMs);
  }

  /** Claims by what is waited for; settling: volumes that published capacities may not show. */
  get counts(): Readonly<Record<Stage | 'settling', number>> {
    const { promised, provisioning } = this.#stages;
    return { promised: promised.size, provisioning: provisioning.size, settling: this.#settled.count };
  }

  /**
   * How often there was more room than before without a volume that explains it: a promise lapsed or was withdrawn, a choice was taken back,
   * more was published. Time alone changes it in `lapse`, or when somebody asks for what is held.
   */
  get returns(): number {
    return this.#returns;
  }

  /** The same bytes as `heldBytes([])`, perhaps with some that have lapsed since somebody asked. */
  get chargedBytes(): number {
    return this.#heldBytes;
  }

  /** Lets go of what lives no longer. */
  lapse(): void {
    this.#expire();
    if (this.#settled.hasAged()) this.#returns++;
  }

  /** Raw bytes that volume records do not show yet, without those of the claims named. */
  heldBytes(own: readonly Pick<Reserved, 'claimKey'>[]): number {
    this.#expire();
    let ownBytes = 0;
    for (const { claimKey } of own) ownBytes += this.#find(claimKey)?.rawBytes ?? 0;
    return this.#heldBytes - ownBytes;
  }

  /** Raw bytes that the published capacity of that key may not show yet, without those of the claims named. */
  unpublishedBytes(capacityKey: string, own: readonly Pick<Reserved, 'claimKey'>[]): number {
    return this.heldBytes(own) + this.#settled.unshownBytes(capacityKey, this.#provisioningBytes);
  }

  /** Filter let the pod pass: what it promised the pod before is replaced. */
  promise(podUid: string, reserved: readonly Reserved[]): void {
    this.#expire();
    const { heldBytes, returns } = { heldBytes: this.#heldBytes, returns: this.#returns };
    this.withdraw(podUid);
    for (const one of reserved) {
      if (!this.#stages.provisioning.has(one.claimKey)) this.#enter('promised', one, podUid);
    }
    // What is promised again was never given back.
    if (this.#heldBytes >= heldBytes) this.#returns = returns;
  }

  /** Filter found no node, or the pod is gone. What is being made for it already is made all the same. */
  withdraw(podUid: string): void {
    for (const key of [...(this.#ofPod.get(podUid) ?? [])]) {
      if (this.#stages.promised.has(key)) this.#giveBack(key);
    }
  }

  /** The API shows that a volume is being made, whoever decided it. */
  provisioning(reserved: Reserved): void {
    const before = this.#find(reserved.claimKey);
    this.#enter('provisioning', reserved, before?.podUid ?? '');
    if (before !== undefined && before.rawBytes > reserved.rawBytes) this.#returns++;
  }

  /** The volume is there. */
  made(claimKey: string): void {
    const charge = this.#leave(claimKey);
    if (charge !== undefined) this.#settled.add(charge.rawBytes);
  }

  /** The same, by the UID of its claim. */
  madeFor(claimUid: string): void {
    const key = this.#ofClaimUid.get(claimUid);
    if (key !== undefined) this.made(key);
  }

  /** The choice of a node was taken back (the driver said RESOURCE_EXHAUSTED): the pod will be asked about again. */
  gaveUp(claimKey: string): void {
    if (this.#stages.provisioning.has(claimKey)) this.drop(claimKey);
  }

  /** The claim is gone: no volume is to be made. */
  drop(claimKey: string): void {
    this.#giveBack(claimKey);
    this.#settled.notMade(this.#provisioningBytes);
  }

  /** A capacity was published, by so many raw bytes lower than before, or higher: below 0. */
  published(capacityKey: string, fallenBytes: number): void {
    this.#expire();
    const unshownBytes = this.#settled.unshownBytes(capacityKey, this.#provisioningBytes);
    this.#settled.published(capacityKey, fallenBytes, this.#provisioningBytes);
    const lessUnshownBytes = unshownBytes - this.#settled.unshownBytes(capacityKey, this.#provisioningBytes);
    if (lessUnshownBytes - fallenBytes >= LEAST_BYTES) this.#returns++;
  }

  unpublished(capacityKey: string): void {
    this.#settled.withdrawn(capacityKey);
  }

  #giveBack(claimKey: string): void {
    const charge = this.#leave(claimKey);
    if (charge !== undefined && charge.rawBytes > 0) this.#returns++;
  }

  #find(claimKey: string): Charge | undefined {
    return this.#stages.promised.get(claimKey) ?? this.#stages.provisioning.get(claimKey);
  }

  #enter(stage: Stage, { claimKey, claimUid, rawBytes }: Reserved, podUid: string): void {
    this.#leave(claimKey);
    const lifetimeMs = stage === 'promised' ? this.#times.promisedMs : this.#times.provisioningMs;
    const untilMs = this.#clock.monotonicMs() + lifetimeMs;
    this.#stages[stage].set(claimKey, { claimKey, claimUid, rawBytes, podUid, untilMs });
    this.#heldBytes += rawBytes;
    if (stage === 'provisioning') this.#provisioningBytes += rawBytes;
    if (claimUid !== '') this.#ofClaimUid.set(claimUid, claimKey);
    if (podUid === '') return;
    const claims = this.#ofPod.get(podUid) ?? new Set();
    claims.add(claimKey);
    this.#ofPod.set(podUid, claims);
  }

  #leave(claimKey: string): Charge | undefined {
    const charge = this.#find(claimKey);
    if (charge === undefined) return undefined;
    if (this.#stages.provisioning.has(claimKey)) this.#provisioningBytes -= charge.rawBytes;
    for (const stage of STAGES) this.#stages[stage].delete(claimKey);
    this.#heldBytes -= charge.rawBytes;
    this.#ofClaimUid.delete(charge.claimUid);
    const claims = this.#ofPod.get(charge.podUid);
    claims?.delete(claimKey);
    if (claims?.size === 0) this.#ofPod.delete(charge.podUid);
    return charge;
  }

  #expire(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const stage of STAGES) {
      for (const { claimKey, untilMs } of this.#stages[stage].values()) {
        if (untilMs > nowMs) break;
        this.drop(claimKey);
      }
    }
  }
}
