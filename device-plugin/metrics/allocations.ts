import { Deadline } from '../../common/concurrency/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';

/** What one container holds of one of our resources, in units. */
export type Allocation = {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly resource: string;
  readonly units: number;
};

export type AllocationSource = {
  /** All containers of the node that hold something of ours. */
  allocations(deadline: Deadline): Promise<readonly Allocation[]>;
};

export type AllocationsOptions = {
  readonly source: AllocationSource;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onRefresh: (result: 'ok' | 'failed') => void;
};

/** Asked again when what is known is older. */
const FRESH_MS = 5000;
/** How long one who asks waits for an answer that is on its way. */
const WAIT_MS = 500;
const REFRESH_TIMEOUT_MS = 5000;
/** Older is not told any more. */
const STALE_MS = 5 * 60_000;

export type KnownAllocations = { readonly allocations: readonly Allocation[]; readonly atMs: number };

/**
 * What the pod-resources API said last. It is asked when somebody wants to know, never in between and by one call at a
 * time; a kubelet that is slow or away delays nobody by more than half a second.
 */
export class Allocations {
  readonly #options: AllocationsOptions;
  #known: KnownAllocations | undefined;
  #refreshing: Promise<void> | undefined;
  #isFailing = false;

  constructor(options: AllocationsOptions) {
    this.#options = options;
  }

  /** Undefined when nothing was heard in five minutes. Never rejects. */
  async newest(): Promise<KnownAllocations | undefined> {
    const { clock } = this.#options;
    const isFresh = this.#known !== undefined && clock.monotonicMs() - this.#known.atMs < FRESH_MS;
    if (!isFresh) await this.#refreshed();
    const known = this.#known;
    return known !== undefined && clock.monotonicMs() - known.atMs < STALE_MS ? known : undefined;
  }

  async #refreshed(): Promise<void> {
    const { clock } = this.#options;
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    const late = Promise.withResolvers<void>();
    const timer = clock.setTimer(() => late.resolve(), WAIT_MS);
    try {
      await Promise.race([this.#refreshing, late.promise]);
    } finally {
      timer.cancel();
    }
  }

  async #refresh(): Promise<void> {
    const { source, clock, logger, onRefresh } = this.#options;
    using deadline = new Deadline({ clock, operation: 'asking for pod resources', timeoutMs: REFRESH_TIMEOUT_MS });
    try {
      const allocations = await deadline.race(source.allocations(deadline));
      this.#known = { allocations, atMs: clock.monotonicMs() };
      this.#isFailing = false;
      onRefresh('ok');
    } catch (err) {
      if (!this.#isFailing)
        logger.warn('allocations are not known: the pod-resources API does not answer', { error: err });
      this.#isFailing = true;
      onRefresh('failed');
    }
  }
}
