import type { Clock } from '../../common/ports/index.ts';

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

/** promised: filter said yes. provisioning: a node is chosen. settling: the volume is there, published capacities may not show it. */
const STAGES = ['promised', 'provisioning', 'settling'] as const;
export type Stage = (typeof STAGES)[number];

type Charge = Reserved & {
  readonly podUid: string;
  /** Where the volume will be used; undefined: not yet decided, so it counts everywhere. */
  readonly zone: string | undefined;
  readonly sinceMs: number;
  readonly untilMs: number;
};

/** A published capacity that arrives so soon after a volume may have been measured before it. */
const SAME_MOMENT_MS = 1000;

class Totals {
  anywhere = 0;
  all = 0;
  readonly zones = new Map<string, number>();

  add({ zone, rawBytes }: Charge, sign: 1 | -1): void {
    this.all += sign * rawBytes;
    if (zone === undefined) this.anywhere += sign * rawBytes;
    else this.zones.set(zone, (this.zones.get(zone) ?? 0) + sign * rawBytes);
  }

  in(zone: string): number {
    return this.anywhere + (this.zones.get(zone) ?? 0);
  }
}

/**
 * Capacity that pods being placed will take and that nothing else shows yet: without it, a burst of pods sees the same free bytes
 * each. A charge is a claim's, made when filter lets its pod pass, kept by the pod's UID and for a time, and replaced step by step by
 * what the API shows. Each kind of charge lives equally long, so the oldest is always the next to expire.
 */
export class Reservations {
  readonly #clock: Clock;
  readonly #times: ReservationTimes;
  readonly #stages: Readonly<Record<Stage, Map<string, Charge>>> = {
    promised: new Map(),
    provisioning: new Map(),
    settling: new Map(),
  };
  readonly #totals: Readonly<Record<Stage, Totals>> = {
    promised: new Totals(),
    provisioning: new Totals(),
    settling: new Totals(),
  };
  readonly #ofPod = new Map<string, Set<string>>();
  readonly #ofClaimUid = new Map<string, string>();

  constructor(clock: Clock, times: ReservationTimes = DEFAULT_TIMES) {
    this.#clock = clock;
    this.#times = times;
  }

  get counts(): Readonly<Record<Stage, number>> {
    const { promised, provisioning, settling } = this.#stages;
    return { promised: promised.size, provisioning: provisioning.size, settling: settling.size };
  }

  /** Raw bytes that volume records do not show yet, without those of the claims named. */
  heldBytes(own: readonly Pick<Reserved, 'claimKey'>[]): number {
    this.#expire();
    const { promised, provisioning } = this.#totals;
    return promised.all + provisioning.all - this.#ownBytes(own, ['promised', 'provisioning'], undefined);
  }

  /** Raw bytes that published capacities for nodes of the zone may not show yet, without those of the claims named. */
  unpublishedBytes(zone: string, own: readonly Pick<Reserved, 'claimKey'>[]): number {
    this.#expire();
    const sum = STAGES.reduce((total, stage) => total + this.#totals[stage].in(zone), 0);
    return sum - this.#ownBytes(own, STAGES, zone);
  }

  /** Filter let the pod pass: what it promised the pod before is replaced. */
  promise(podUid: string, reserved: readonly Reserved[], zone?: string): void {
    this.#expire();
    this.#dropPromised(podUid);
    for (const one of reserved) {
      if (this.#stages.provisioning.has(one.claimKey) || this.#stages.settling.has(one.claimKey)) continue;
      this.#enter('promised', one, podUid, zone);
    }
  }

  /** Filter found no node: the pod holds nothing. */
  withdraw(podUid: string): void {
    this.#dropPromised(podUid);
  }

  /** The API shows that a volume is being made, whoever decided it. */
  provisioning(reserved: Reserved, zone: string | undefined): void {
    const podUid = this.#leave(reserved.claimKey) ?? '';
    this.#enter('provisioning', reserved, podUid, zone);
  }

  /** The volume is there. */
  made(claimKey: string): void {
    const stage = this.#stages.promised.has(claimKey) ? 'promised' : 'provisioning';
    const charge = this.#stages[stage].get(claimKey);
    if (charge === undefined) return;
    this.#leave(claimKey);
    this.#enter('settling', charge, charge.podUid, charge.zone);
  }

  /** The same, by the UID of its claim. */
  madeFor(claimUid: string): void {
    const key = this.#ofClaimUid.get(claimUid);
    if (key !== undefined) this.made(key);
  }

  /** The choice of a node was taken back (the driver said RESOURCE_EXHAUSTED): the pod will be asked about again. */
  gaveUp(claimKey: string): void {
    if (this.#stages.provisioning.has(claimKey)) this.#leave(claimKey);
  }

  /** The claim is gone: no volume is to be made. */
  drop(claimKey: string): void {
    this.#leave(claimKey);
  }

  /** The pod is gone. What is being made for it already is made all the same. */
  podGone(podUid: string): void {
    this.#dropPromised(podUid);
  }

  /** New capacities were published: they show what was there before. */
  published(): void {
    const beforeMs = this.#clock.monotonicMs() - SAME_MOMENT_MS;
    for (const { claimKey, sinceMs } of this.#stages.settling.values()) {
      if (sinceMs > beforeMs) return;
      this.#leave(claimKey);
    }
  }

  #lifetimeMs(stage: Stage): number {
    const { promisedMs, provisioningMs, settlingMs } = this.#times;
    if (stage === 'promised') return promisedMs;
    return stage === 'provisioning' ? provisioningMs : settlingMs;
  }

  #enter(stage: Stage, { claimKey, claimUid, rawBytes }: Reserved, podUid: string, zone: string | undefined): void {
    this.#leave(claimKey);
    const sinceMs = this.#clock.monotonicMs();
    const untilMs = sinceMs + this.#lifetimeMs(stage);
    const charge: Charge = { claimKey, claimUid, rawBytes, podUid, zone, sinceMs, untilMs };
    this.#stages[stage].set(claimKey, charge);
    this.#totals[stage].add(charge, 1);
    if (claimUid !== '') this.#ofClaimUid.set(claimUid, claimKey);
    if (podUid === '') return;
    const claims = this.#ofPod.get(podUid) ?? new Set();
    claims.add(claimKey);
    this.#ofPod.set(podUid, claims);
  }

  /** The pod that it was charged for. */
  #leave(claimKey: string): string | undefined {
    for (const stage of STAGES) {
      const charge = this.#stages[stage].get(claimKey);
      if (charge === undefined) continue;
      this.#stages[stage].delete(claimKey);
      this.#totals[stage].add(charge, -1);
      this.#ofClaimUid.delete(charge.claimUid);
      const claims = this.#ofPod.get(charge.podUid);
      claims?.delete(claimKey);
      if (claims?.size === 0) this.#ofPod.delete(charge.podUid);
      return charge.podUid;
    }
    return undefined;
  }

  #dropPromised(podUid: string): void {
    for (const key of [...(this.#ofPod.get(podUid) ?? [])]) {
      if (this.#stages.promised.has(key)) this.#leave(key);
    }
  }

  #ownBytes(own: readonly Pick<Reserved, 'claimKey'>[], stages: readonly Stage[], zone: string | undefined): number {
    let sum = 0;
    for (const { claimKey } of own) {
      for (const stage of stages) {
        const charge = this.#stages[stage].get(claimKey);
        if (charge === undefined) continue;
        if (zone === undefined || charge.zone === undefined || charge.zone === zone) sum += charge.rawBytes;
      }
    }
    return sum;
  }

  #expire(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const stage of STAGES) {
      for (const { claimKey, untilMs } of this.#stages[stage].values()) {
        if (untilMs > nowMs) break;
        this.#leave(claimKey);
      }
    }
  }
}
