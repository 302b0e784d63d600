import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { RESOURCE_DOMAIN } from '../config/index.ts';
import { type ResourceName, type Unsubscribe, WakeUp } from '../kubelet/index.ts';
import type { PodHolding, PodResources } from '../pod-resources/index.ts';
import type { Cause } from '../resources/index.ts';

export type DeviceOwnersOptions = {
  readonly podResources: Pick<PodResources, 'list'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often to look whether the last holder has gone. */
  readonly pollMs?: number;
  /** How long nobody may have been seen with a device: the kubelet shows what it has just given out a moment later. */
  readonly settleMs?: number;
};

const POLL_MS = 2000;
const SETTLE_MS = 5000;
const ASK_MS = 5000;
/** A kubelet that does not answer is asked ever more seldom, up to this. */
const UNANSWERED_LIMIT_MS = 60_000;
/** Resources whose units are devices; others count places and pages, which nobody else has. */
const OF_DEVICES = new RegExp(`^${RESOURCE_DOMAIN.replace('.', '\\.')}/(rdma|gds|nvme-vfio)(-|$)`);

/** A device that another resource is to have, while pods may have it from the one before. */
type Move = { readonly to: ResourceName; freeSinceMs: number | undefined };

/**
 * Which extended resource each device is given out by. A file that moves a device from one to another does not take it from
 * the pods that have it, and the kubelet does not know that two resources can mean one device: so the new one waits until
 * nobody has it by the old one any more, also when the file was changed while this process was away.
 */
export class DeviceOwners {
  readonly #options: DeviceOwnersOptions;
  readonly #logger: Logger;
  readonly #wake: WakeUp;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<() => void>();
  readonly #owners = new Map<string, ResourceName>();
  readonly #moves = new Map<string, Move>();
  #running: Promise<void> = Promise.resolve();

  constructor(options: DeviceOwnersOptions) {
    this.#options = options;
    this.#logger = options.logger.child({ component: 'owners' });
    this.#wake = new WakeUp(options.clock);
  }

  /** To be called when the devices of the first configuration have been asked for. */
  start(): void {
    this.#running = this.#run();
  }

  /** Why a device may not be given out by a resource yet. Asking is what makes the resource its owner, or its next one. */
  withheld(device: string, resource: ResourceName): Cause | undefined {
    const owner = this.#owners.get(device);
    if (owner === undefined || owner === resource) {
      this.#owners.set(device, resource);
      this.#moves.delete(device);
      return undefined;
    }
    if (this.#moves.get(device)?.to !== resource) {
      this.#moves.set(device, { to: resource, freeSinceMs: undefined });
      this.#wake.call();
    }
    return { code: 'mode', detail: `${device} was given out as ${owner}, and a pod may still have it` };
  }

  /** The listener hears that `withheld` would say something else of some device. */
  watch(listener: () => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'watching the owners of devices' }));
    await this.#running;
    this.#listeners.clear();
  }

  /** Once at the start, for pods from before; then only while a device waits. */
  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { pollMs = POLL_MS } = this.#options;
    let isLearnt = false;
    let unanswered = 0;
    while (!signal.aborted) {
      if (!isLearnt || this.#moves.size > 0) {
        const held = await this.#held();
        unanswered = held === undefined ? unanswered + 1 : 0;
        const isNews = held !== undefined && (isLearnt ? this.#settle(held) : this.#learn(held));
        isLearnt ||= held !== undefined;
        if (isNews) for (const listener of [...this.#listeners]) listener();
      }
      const isDone = isLearnt && this.#moves.size === 0;
      const pauseMs = Math.min(pollMs * 2 ** unanswered, UNANSWERED_LIMIT_MS);
      await this.#wake.wait(isDone ? Number.POSITIVE_INFINITY : pauseMs, signal);
    }
  }

  /** Whoever has a device owns it, whatever the file says now. */
  #learn(held: ReadonlyMap<string, ReadonlySet<string>>): boolean {
    let isNews = false;
    for (const [device, resources] of held) {
      const owner = this.#owners.get(device);
      if (owner === undefined || resources.has(owner)) continue;
      const [holder] = resources;
      this.#logger.warn('pods have a device by another resource than the configuration says', {
        device,
        holder,
        owner,
      });
      this.#owners.set(device, holder as ResourceName);
      isNews = true;
    }
    return isNews;
  }

  /** Whether a device has come to its new owner. */
  #settle(held: ReadonlyMap<string, ReadonlySet<string>>): boolean {
    const { clock, settleMs = SETTLE_MS } = this.#options;
    const nowMs = clock.monotonicMs();
    let isNews = false;
    for (const [device, move] of [...this.#moves]) {
      const others = [...(held.get(device) ?? [])].filter((resource) => resource !== move.to);
      if (others.length > 0) {
        move.freeSinceMs = undefined;
        continue;
      }
      move.freeSinceMs ??= nowMs;
      if (nowMs - move.freeSinceMs < settleMs) continue;
      this.#logger.info('a device is given out by another resource', {
        device,
        before: this.#owners.get(device),
        now: move.to,
      });
      this.#owners.set(device, move.to);
      this.#moves.delete(device);
      isNews = true;
    }
    return isNews;
  }

  /** The resources by which containers have each device; undefined where the kubelet does not say. */
  async #held(): Promise<ReadonlyMap<string, ReadonlySet<string>> | undefined> {
    const { clock, podResources } = this.#options;
    const parent = this.#stop.signal;
    using deadline = new Deadline({ clock, operation: 'asking who has devices', timeoutMs: ASK_MS, parent });
    try {
      return resourcesByDevice(await podResources.list(deadline));
    } catch (err) {
      if (!NabuError.is(err)) throw err;
      const waiting = [...this.#moves.keys()];
      if (waiting.length > 0)
        this.#logger.warn('who has devices that are to move is not known', { waiting, error: err });
      return undefined; // asked again; what waits goes on waiting
    }
  }
}

function resourcesByDevice(pods: readonly PodHolding[]): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>();
  for (const { resource, id } of pods.flatMap(({ containers }) => containers.flatMap(({ devices }) => devices))) {
    if (!OF_DEVICES.test(resource)) continue;
    const device = id.replace(/-\d+$/, '');
    const resources = found.get(device) ?? new Set<string>();
    found.set(device, resources.add(resource));
  }
  return found;
}
