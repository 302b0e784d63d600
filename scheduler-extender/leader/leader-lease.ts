import { raceAbort } from '../../common/concurrency/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';

/** What we keep of a coordination.k8s.io/v1 Lease. */
export type LeaseRecord = {
  /** '' while nobody holds it. */
  readonly holder: string;
  readonly durationMs: number;
  /** As its holder's clock said; only whether it changes matters, never when. */
  readonly renewedAt: string;
  readonly transitions: number;
  /** For compare-and-swap; '' for a Lease that is not there yet. */
  readonly version: string;
};

export interface LeaseStore {
  /** Undefined: there is none. */
  read(): Promise<LeaseRecord | undefined>;
  /** Writes over the version that the record names. Rejects where somebody else was first. */
  write(record: LeaseRecord): Promise<void>;
}

export type LeaseTimes = {
  /** For so long after its last change nobody else takes the Lease. */
  readonly durationMs: number;
  /** For so long after its last success the holder believes that it holds it: less than the duration. */
  readonly believeMs: number;
  readonly retryMs: number;
};

/** client-go, leaderelection, the defaults of Kubernetes' own components. */
export const LEASE_TIMES: LeaseTimes = { durationMs: 15_000, believeMs: 10_000, retryMs: 2000 };

export type LeaderLeaseOptions = {
  readonly store: LeaseStore;
  readonly identity: string;
  readonly times?: LeaseTimes;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The Lease is ours; called again each time that it becomes so. */
  readonly onElected: () => void;
};

/**
 * One of many holds a Lease, as client-go does it: the others take it only when it has not changed for its whole duration by their own
 * clocks, and its holder stops believing earlier than that. Clocks need not agree, only run equally fast.
 */
export class LeaderLease {
  readonly #options: LeaderLeaseOptions;
  readonly #times: LeaseTimes;
  readonly #stopping = new AbortController();
  #seen: LeaseRecord | undefined;
  #seenAtMs = 0;
  #believedUntilMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #trying: Promise<void> = Promise.resolve();

  constructor(options: LeaderLeaseOptions) {
    this.#options = options;
    this.#times = options.times ?? LEASE_TIMES;
  }

  get isHeld(): boolean {
    return this.#options.clock.monotonicMs() < this.#believedUntilMs;
  }

  /** Who holds it as far as we know; '' for nobody. */
  get holder(): string {
    return this.#seen?.holder ?? '';
  }

  start(): void {
    this.#trying = this.#round();
  }

  /** Gives the Lease back, so that the next one need not wait. */
  async stop(): Promise<void> {
    const wasHeld = this.isHeld;
    this.#stopping.abort();
    this.#timer?.cancel();
    await this.#trying;
    this.#believedUntilMs = Number.NEGATIVE_INFINITY;
    if (!wasHeld || this.#seen === undefined) return;
    const { store, logger } = this.#options;
    try {
      const signal = AbortSignal.timeout(this.#times.retryMs);
      const now = await raceAbort(store.read(), signal, 'reading the Lease');
      if (now?.holder !== this.#options.identity) return;
      await raceAbort(store.write({ ...now, holder: '' }), signal, 'giving the Lease back');
    } catch (error) {
      logger.warn('the Lease was not given back', { error });
    }
  }

  async #round(): Promise<void> {
    const { clock, logger } = this.#options;
    try {
      await this.#try();
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      logger.warn('the Lease cannot be held now', { error });
    }
    if (this.#stopping.signal.aborted) return;
    this.#timer = clock.setTimer(() => this.start(), this.#times.retryMs);
  }

  async #try(): Promise<void> {
    const { store, identity, clock, logger, onElected } = this.#options;
    const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(this.#times.believeMs)]);
    const found = await raceAbort(store.read(), signal, 'reading the Lease');
    const nowMs = clock.monotonicMs();
    if (found !== undefined && !sameRecord(found, this.#seen)) {
      this.#seen = found;
      this.#seenAtMs = nowMs;
    }
    const isTaken = found !== undefined && found.holder !== '' && found.holder !== identity;
    if (isTaken && nowMs - this.#seenAtMs < found.durationMs) {
      this.#believedUntilMs = Number.NEGATIVE_INFINITY;
      return;
    }
    const isNew = found?.holder !== identity;
    const record: LeaseRecord = {
      holder: identity,
      durationMs: this.#times.durationMs,
      renewedAt: new Date(clock.nowMs()).toISOString(),
      transitions: (found?.transitions ?? 0) + (isNew ? 1 : 0),
      version: found?.version ?? '',
    };
    await raceAbort(store.write(record), signal, 'writing the Lease');
    const wasHeld = this.isHeld;
    // From before the write: others count from when they see it, which is later.
    this.#believedUntilMs = nowMs + this.#times.believeMs;
    if (wasHeld) return;
    logger.info('this one answers', { identity, before: found?.holder ?? '' });
    onElected();
  }
}

function sameRecord(a: LeaseRecord, b: LeaseRecord | undefined): boolean {
  return a.holder === b?.holder && a.renewedAt === b.renewedAt && a.transitions === b.transitions;
}
