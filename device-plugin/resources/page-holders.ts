import { Deadline } from '../../common/concurrency/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import type { DeviceId, ResourceName, Unsubscribe } from '../kubelet/index.ts';
import type { PodHolding, PodResources } from '../pod-resources/index.ts';

/** What the containers of this node hold of one resource and of the huge pages that belong to it. */
export type HeldPages = {
  readonly units: ReadonlySet<string>;
  /** Of each container that holds any: how many units, and how many bytes of pages the kubelet says (0: it does not). */
  readonly containers: readonly { readonly units: number; readonly pageBytes: number }[];
};

export type PageHoldersOptions = {
  readonly podResources: Pick<PodResources, 'list'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often the kubelet is asked while nothing happens. */
  readonly pollMs?: number;
};

const POLL_MS = 10_000;
/** The least time between two questions, however often the machine changes. */
const PAUSE_MS = 1000;
const TIMEOUT_MS = 5000;
/** The kubelet shows what it was granted once the whole pod is admitted, and lets go of it some seconds after its end. */
const GRACE_MS = 10_000;

/**
 * Who holds huge pages, as the kubelet last said, and before it has said anything of a unit that was just granted, that one
 * too: a pod may touch its pages before the kubelet is asked again.
 */
export class PageHolders {
  readonly #options: PageHoldersOptions;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<() => void>();
  /** When each was granted, by resource and id; until the kubelet has had time to show it. */
  readonly #granted = new Map<ResourceName, Map<DeviceId, number>>();
  #pods: readonly PodHolding[] | undefined;
  #said = '';
  #timer: Timer | undefined;
  #asking: Promise<void> | undefined;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #isNudged = false;
  #failure: string | undefined;

  constructor(options: PageHoldersOptions) {
    this.#options = options;
  }

  start(): void {
    this.#ask();
  }

  /** Ask soon: something has changed. */
  nudge(): void {
    this.#isNudged = true;
    if (this.#asking === undefined && !this.#stop.signal.aborted) this.#schedule();
  }

  /** Listeners hear when pods hold something else than before. */
  watch(listener: () => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  granted(resource: ResourceName, ids: readonly DeviceId[]): void {
    const ofResource = this.#granted.get(resource) ?? new Map<DeviceId, number>();
    this.#granted.set(resource, ofResource);
    const nowMs = this.#options.clock.monotonicMs();
    for (const id of ids) ofResource.set(id, nowMs);
    this.nudge();
  }

  /** Undefined until the kubelet has answered once. `pages` is the resource of the pages themselves: 'hugepages-2Mi'. */
  held(resource: ResourceName, pages: string): HeldPages | undefined {
    if (this.#pods === undefined) return undefined;
    const units = new Set<string>(this.#granted.get(resource)?.keys());
    const containers = this.#pods
      .flatMap((pod) => pod.containers)
      .map(({ devices, hugePages }) => {
        const own = devices.filter((device) => device.resource === resource);
        for (const { id } of own) units.add(id);
        return { units: own.length, pageBytes: hugePages?.[pages] ?? 0 };
      });
    return { units, containers: containers.filter((one) => one.units > 0 || one.pageBytes > 0) };
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#timer?.cancel();
    this.#listeners.clear();
    await this.#asking;
  }

  #schedule(): void {
    const { clock, pollMs } = this.#options;
    this.#timer?.cancel();
    const pauseMs = this.#isNudged ? PAUSE_MS : (pollMs ?? POLL_MS);
    const delayMs = Math.max(0, this.#askedAtMs + pauseMs - clock.monotonicMs());
    this.#timer = clock.setTimer(() => this.#ask(), delayMs, { background: true });
  }

  #ask(): void {
    this.#isNudged = false;
    this.#askedAtMs = this.#options.clock.monotonicMs();
    this.#asking = this.#look(this.#askedAtMs).finally(() => {
      this.#asking = undefined;
      if (!this.#stop.signal.aborted) this.#schedule();
    });
  }

  async #look(sinceMs: number): Promise<void> {
    const { podResources, clock, logger } = this.#options;
    const parent = this.#stop.signal;
    using deadline = new Deadline({ clock, operation: 'asking what pods hold', timeoutMs: TIMEOUT_MS, parent });
    try {
      const pods = await deadline.race(podResources.list(deadline));
      if (this.#failure !== undefined) logger.info('the kubelet says again what pods hold');
      this.#failure = undefined;
      this.#forgetGrants(sinceMs);
      this.#take(pods);
    } catch (err) {
      // What it said last stands. It is asked again, for ever.
      const failure = String(err);
      if (failure !== this.#failure && !parent.aborted) logger.warn('what pods hold is not known', { error: err });
      this.#failure = failure;
    }
  }

  #forgetGrants(sinceMs: number): void {
    for (const granted of this.#granted.values()) {
      for (const [id, atMs] of granted) if (atMs + GRACE_MS < sinceMs) granted.delete(id);
    }
  }

  #take(pods: readonly PodHolding[]): void {
    this.#pods = pods;
    const said = JSON.stringify([pods, [...this.#granted.values()].map((granted) => [...granted.keys()])]);
    if (said === this.#said) return;
    this.#said = said;
    for (const listener of [...this.#listeners]) listener();
  }
}
