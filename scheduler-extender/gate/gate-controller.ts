import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import type { GatedPod, GatedPodApi, GatedPodSink, Whereabouts } from './gated-pods.ts';
import { SchedulerLane } from './scheduler-lane.ts';
import { TokenBucket } from './token-bucket.ts';

export type GateRate = {
  readonly perSecond: number;
  /** Pods let through at once after a quiet time. */
  readonly burst: number;
  /** Pods that may be with one scheduler and neither placed nor refused. */
  readonly window: number;
};

export type GateControllerOptions = {
  readonly api: GatedPodApi;
  readonly rate: GateRate;
  /** Why no pod may go to the scheduler now (no extender is healthy, another one leads), or undefined. */
  readonly closed: () => string | undefined;
  /** Whether its scheduler has chosen a node for the pod, where the pod itself does not say so yet. */
  readonly isPlaced: (uid: string) => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** What is beyond stays behind the gate until a later list. */
const MOST_KNOWN = 100_000;
const MOST_UNDER_WAY = 16;
const CLOSED_LOOK_MS = 250;
/** Usually a pod that is judged wakes us; what else is known of pods is looked at so often. */
const FULL_LOOK_MS = 100;
const LIFT_TIMEOUT_MS = 5000;
const RETRY_MS = 1000;

/**
 * Lets pods of ours to their schedulers, the first first, no faster than the rate, no more at one time than the window, and only while
 * the gate is not closed: an extender that hangs costs the scheduler a timeout for each pod that asks it, and strangers wait as long. It
 * keeps nothing that matters: which pods wait, and which are with the scheduler, is what the API server says, so that after a crash it
 * goes on where it was.
 */
export class GateController implements GatedPodSink {
  readonly #options: GateControllerOptions;
  readonly #bucket: TokenBucket;
  /** By the name of the scheduler: each has its own loop. */
  readonly #lanes = new Map<string, SchedulerLane>();
  /** Being lifted. */
  readonly #underWay = new Map<string, Promise<void>>();
  /** What could not be lifted is tried again after a time. */
  readonly #notBefore = new Map<string, number>();
  readonly #stopping = new AbortController();
  #following: { stop(): Promise<void> } | undefined;
  #timer: Timer | undefined;
  #dueMs = 0;
  #said: string | undefined;
  #lifted = 0;

  constructor(options: GateControllerOptions) {
    this.#options = options;
    this.#bucket = new TokenBucket(options.clock, options.rate.perSecond, options.rate.burst);
  }

  get waiting(): number {
    return this.#sum(({ waiting }) => waiting.size);
  }

  /** Pods that are with a scheduler and neither placed nor refused. */
  get unjudged(): number {
    return this.#sum(({ asking }) => asking);
  }

  get isOpen(): boolean {
    return this.#options.closed() === undefined;
  }

  get lifted(): number {
    return this.#lifted;
  }

  start(): void {
    this.#following = this.#options.api.follow(this);
  }

  /** Waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#timer?.cancel();
    await this.#following?.stop();
    await Promise.all(this.#underWay.values());
  }

  replace(pods: readonly (readonly [GatedPod, Whereabouts])[]): void {
    const nowMs = this.#options.clock.monotonicMs();
    const there = new Set([...pods.map(([{ uid }]) => uid), ...this.#underWay.keys()]);
    for (const [name, lane] of this.#lanes) {
      lane.keep(there, nowMs);
      if (lane.isEmpty) this.#lanes.delete(name);
    }
    for (const uid of this.#notBefore.keys()) if (!there.has(uid)) this.#notBefore.delete(uid);
    for (const [pod, where] of pods) this.put(pod, where);
    this.#wake(0);
  }

  put(pod: GatedPod, where: Whereabouts): void {
    const isNew = this.#lanes.get(pod.scheduler)?.has(pod.uid) !== true;
    if (isNew && this.waiting + this.unjudged >= MOST_KNOWN) return;
    const lane = this.#laneOf(pod);
    if (where === 'scheduler') lane.enter(pod.uid, this.#options.clock.monotonicMs());
    else lane.wait(pod);
    this.#wake(0);
  }

  remove(uid: string): void {
    this.#notBefore.delete(uid);
    for (const [name, lane] of this.#lanes) {
      if (!lane.leave(uid, this.#options.clock.monotonicMs())) continue;
      if (lane.isEmpty) this.#lanes.delete(name);
      this.#wake(0);
    }
  }

  #sum(count: (lane: SchedulerLane) => number): number {
    let sum = 0;
    for (const lane of this.#lanes.values()) sum += count(lane);
    return sum;
  }

  #laneOf({ scheduler }: GatedPod): SchedulerLane {
    let lane = this.#lanes.get(scheduler);
    if (lane === undefined) {
      lane = new SchedulerLane(this.#options.rate.window);
      this.#lanes.set(scheduler, lane);
    }
    return lane;
  }

  /** The soonest of those who ask counts. */
  #wake(delayMs: number): void {
    const dueMs = this.#options.clock.monotonicMs() + delayMs;
    if (this.#stopping.signal.aborted || (this.#timer !== undefined && this.#dueMs <= dueMs)) return;
    this.#timer?.cancel();
    this.#dueMs = dueMs;
    this.#timer = this.#options.clock.setTimer(() => {
      this.#timer = undefined;
      this.#round();
    }, delayMs);
  }

  #round(): void {
    if (this.waiting === 0) return;
    const { closed, clock, logger } = this.#options;
    const reason = closed();
    if (reason !== this.#said) {
      logger.info(reason === undefined ? 'the gate is open' : 'the gate is closed', { reason });
      for (const lane of this.#lanes.values()) lane.restart(clock.monotonicMs());
    }
    this.#said = reason;
    if (reason !== undefined) {
      this.#wake(CLOSED_LOOK_MS);
      return;
    }
    let nextMs = Number.POSITIVE_INFINITY;
    for (const lane of this.#lanes.values()) nextMs = Math.min(nextMs, this.#liftOf(lane));
    if (nextMs !== Number.POSITIVE_INFINITY) this.#wake(nextMs);
  }

  /** Lifts what may go now; when to look again. */
  #liftOf(lane: SchedulerLane): number {
    if (lane.waiting.size === 0) return Number.POSITIVE_INFINITY;
    const nowMs = this.#options.clock.monotonicMs();
    let room = lane.room(nowMs, this.#options.isPlaced);
    let nextMs = Number.POSITIVE_INFINITY;
    for (const pod of lane.waiting.values()) {
      if (room <= 0) return Math.min(nextMs, FULL_LOOK_MS);
      if (this.#underWay.size >= MOST_UNDER_WAY) break; // the first that ends wakes us
      const waitMs = (this.#notBefore.get(pod.uid) ?? nowMs) - nowMs;
      if (waitMs > 0) {
        nextMs = Math.min(nextMs, waitMs);
        continue;
      }
      if (!this.#bucket.take()) return Math.min(nextMs, this.#bucket.waitMs());
      room--;
      // From here on it counts as with its scheduler: what the API server tells of it may come before the answer to us.
      lane.enter(pod.uid, nowMs);
      this.#underWay.set(pod.uid, this.#lift(pod, lane));
    }
    return nextMs;
  }

  async #lift(pod: GatedPod, lane: SchedulerLane): Promise<void> {
    const { api, clock, logger } = this.#options;
    try {
      const isThere = await api.lift(
        pod,
        AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(LIFT_TIMEOUT_MS)]),
      );
      this.#notBefore.delete(pod.uid);
      if (isThere) this.#lifted++;
      else lane.leave(pod.uid, clock.monotonicMs());
    } catch (error) {
      if (!this.#stopping.signal.aborted) {
        logger.warn('a gate was not lifted', { pod: `${pod.namespace}/${pod.name}`, retryMs: RETRY_MS, error });
        lane.takeBack(pod);
        if (lane.waiting.has(pod.uid)) this.#notBefore.set(pod.uid, clock.monotonicMs() + RETRY_MS);
      }
    } finally {
      this.#underWay.delete(pod.uid);
      this.#wake(0);
    }
  }
}
