import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { type ResourceName, type Unsubscribe, WakeUp } from '../kubelet/index.ts';
import type { PodHolding, PodResources } from '../pod-resources/index.ts';
import { type Cause, DEVICE_KINDS, slotHeld } from '../resources/index.ts';

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
/** Before anything is offered: a kubelet that is there answers in milliseconds. */
const FIRST_ASK_MS = 300;
/** A kubelet that does not answer is asked ever more seldom, up to this. */
const UNANSWERED_LIMIT_MS = 60_000;

/** How a device is given out: by which resource, to how many at a time. */
export type Owner = { readonly resource: ResourceName; readonly slots: number };

/** A device that is to be given out otherwise, while pods may have it as before. */
type Move = { readonly to: Owner; freeSinceMs: number | undefined };

/** A unit of a device that some container has. */
type HeldUnit = { readonly resource: string; readonly slot: number };
type HeldUnits = ReadonlyMap<string, readonly HeldUnit[]>;

/**
 * Which extended resource each device is given out by, and to how many. A file that moves a device to another resource, or
 * has fewer slots of it, does not take it from the pods that have it, and the kubelet does not know that two resources can
 * mean one device: so the new way waits until nobody has it by the old one any more, also when the file was changed while
 * this process was away.
 */
export class DeviceOwners {
  readonly #options: DeviceOwnersOptions;
  readonly #logger: Logger;
  readonly #wake: WakeUp;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<() => void>();
  readonly #owners = new Map<string, Owner>();
  readonly #moves = new Map<string, Move>();
  /** What pods had when the kubelet first said it; undefined before. */
  #before: HeldUnits | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: DeviceOwnersOptions) {
    this.#options = options;
    this.#logger = options.logger.child({ component: 'owners' });
    this.#wake = new WakeUp(options.clock);
  }

  /**
   * To be called before the first configuration is offered: resolves when the kubelet has said who has what from before, or
   * has had its time to.
   */
  async start(): Promise<void> {
    const held = await this.#held(FIRST_ASK_MS);
    if (held !== undefined && this.#learn(held)) this.#tell();
    this.#running = this.#run();
  }

  /** Why a device may not be given out this way yet. Asking is what makes it the way that it is, or the next one. */
  withheld(device: string, to: Owner): Cause | undefined {
    const owner = this.#owners.get(device) ?? this.#ownerBefore(device, to);
    if (owner === undefined || (owner.resource === to.resource && owner.slots <= to.slots)) {
      this.#owners.set(device, to);
      this.#moves.delete(device);
      return undefined;
    }
    const move = this.#moves.get(device)?.to;
    if (move?.resource !== to.resource || move.slots !== to.slots) {
      this.#moves.set(device, { to, freeSinceMs: undefined });
      this.#wake.call();
    }
    const before = owner.resource === to.resource ? `${owner.slots} times` : `as ${owner.resource}`;
    return { code: 'mode', detail: `${device} was given out ${before}, and a pod may still have it so` };
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
    let unanswered = 0;
    while (!signal.aborted) {
      const isLearnt = this.#before !== undefined;
      if (!isLearnt || this.#moves.size > 0) {
        const held = await this.#held(ASK_MS);
        unanswered = held === undefined ? unanswered + 1 : 0;
        if (held !== undefined && (isLearnt ? this.#settle(held) : this.#learn(held))) this.#tell();
      }
      const isDone = this.#before !== undefined && this.#moves.size === 0;
      const pauseMs = Math.min(pollMs * 2 ** unanswered, UNANSWERED_LIMIT_MS);
      await this.#wake.wait(isDone ? Number.POSITIVE_INFINITY : pauseMs, signal);
    }
  }

  /** Whoever has a device owns it, whatever the file says now: those that have been asked for, and those that will be. */
  #learn(held: HeldUnits): boolean {
    this.#before = held;
    let isNews = false;
    for (const [device, owner] of [...this.#owners]) isNews = this.#ownerBefore(device, owner) !== undefined || isNews;
    return isNews;
  }

  /** Who is the owner of a device because a pod has it otherwise; undefined: nobody. */
  #ownerBefore(device: string, wanted: Owner): Owner | undefined {
    const [other] = foreign(this.#before?.get(device) ?? [], wanted);
    if (other === undefined) return undefined;
    this.#logger.warn('a pod has a device otherwise than the configuration says', { device, held: other, wanted });
    const resource = other.resource as ResourceName;
    const owner = { resource, slots: resource === wanted.resource ? other.slot + 1 : wanted.slots };
    this.#owners.set(device, owner);
    return owner;
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** Whether a device has come to its new owner. */
  #settle(held: HeldUnits): boolean {
    const { clock, settleMs = SETTLE_MS } = this.#options;
    const nowMs = clock.monotonicMs();
    let isNews = false;
    for (const [device, move] of [...this.#moves]) {
      if (foreign(held.get(device) ?? [], move.to).length > 0) {
        move.freeSinceMs = undefined;
        continue;
      }
      move.freeSinceMs ??= nowMs;
      if (nowMs - move.freeSinceMs < settleMs) continue;
      const before = this.#owners.get(device);
      this.#logger.info('a device is given out otherwise', { device, before, now: move.to });
      this.#owners.set(device, move.to);
      this.#moves.delete(device);
      isNews = true;
    }
    return isNews;
  }

  /** What containers have; undefined where the kubelet does not say. */
  async #held(timeoutMs: number): Promise<HeldUnits | undefined> {
    const { clock, podResources } = this.#options;
    const parent = this.#stop.signal;
    using deadline = new Deadline({ clock, operation: 'asking who has devices', timeoutMs, parent });
    try {
      return unitsByDevice(await podResources.list(deadline));
    } catch (err) {
      if (!NabuError.is(err)) throw err;
      const waiting = [...this.#moves.keys()];
      if (waiting.length > 0)
        this.#logger.warn('who has devices that are to move is not known', { waiting, error: err });
      return undefined; // asked again; what waits goes on waiting
    }
  }
}

/** Those that the owner would not have given out. */
function foreign(units: readonly HeldUnit[], { resource, slots }: Owner): readonly HeldUnit[] {
  return units.filter((unit) => unit.resource !== resource || unit.slot >= slots);
}

function unitsByDevice(pods: readonly PodHolding[]): HeldUnits {
  const found = new Map<string, HeldUnit[]>();
  for (const unit of pods.flatMap(({ containers }) => containers.flatMap(({ devices }) => devices))) {
    const held = slotHeld(unit, DEVICE_KINDS);
    if (held === undefined) continue;
    const { device, slot } = held;
    found.set(device, [...(found.get(device) ?? []), { resource: unit.resource, slot }]);
  }
  return found;
}
