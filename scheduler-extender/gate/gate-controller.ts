import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import type { GatedPod, GatedPodApi, GatedPodSink } from './gated-pods.ts';
import { TokenBucket } from './token-bucket.ts';

export type GateRate = {
  readonly perSecond: number;
  /** Pods let through at once after a quiet time. */
  readonly burst: number;
};

export type GateControllerOptions = {
  readonly api: GatedPodApi;
  readonly rate: GateRate;
  /** Why no pod may go to the scheduler now (no extender is healthy, another one leads), or undefined. */
  readonly closed: () => string | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** What is beyond stays behind the gate until a later list. */
const MOST_WAITING = 100_000;
const MOST_UNDER_WAY = 16;
const CLOSED_LOOK_MS = 250;
const LIFT_TIMEOUT_MS = 5000;
const RETRY_MS = 1000;

/**
 * Lets pods of ours to the scheduler, the first first, no faster than the rate and only while the gate is not closed: an extender that
 * hangs costs the scheduler a timeout for each pod that asks it, and strangers wait as long. It keeps nothing that matters: which pods
 * wait is what the API server says, so that after a crash it goes on where it was.
 */
export class GateController implements GatedPodSink {
  readonly #options: GateControllerOptions;
  readonly #bucket: TokenBucket;
  /** By UID, in the order that they came. */
  readonly #waiting = new Map<string, GatedPod>();
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
    return this.#waiting.size;
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

  replace(pods: readonly GatedPod[]): void {
    const there = new Set(pods.map(({ uid }) => uid));
    for (const uid of this.#waiting.keys()) if (!there.has(uid)) this.remove(uid);
    for (const pod of pods) this.put(pod);
  }

  put(pod: GatedPod): void {
    if (this.#waiting.size >= MOST_WAITING && !this.#waiting.has(pod.uid)) return;
    this.#waiting.set(pod.uid, pod);
    this.#wake(0);
  }

  remove(uid: string): void {
    this.#waiting.delete(uid);
    this.#notBefore.delete(uid);
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
    if (this.#waiting.size === 0) return;
    const { closed, clock, logger } = this.#options;
    const reason = closed();
    if (reason !== this.#said)
      logger.info(reason === undefined ? 'the gate is open' : 'the gate is closed', { reason });
    this.#said = reason;
    if (reason !== undefined) {
      this.#wake(CLOSED_LOOK_MS);
      return;
    }
    const nowMs = clock.monotonicMs();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const pod of this.#waiting.values()) {
      if (this.#underWay.size >= MOST_UNDER_WAY) return; // the first that ends wakes us
      if (this.#underWay.has(pod.uid)) continue;
      const waitMs = (this.#notBefore.get(pod.uid) ?? nowMs) - nowMs;
      if (waitMs > 0) {
        nextMs = Math.min(nextMs, waitMs);
        continue;
      }
      if (!this.#bucket.take()) {
        nextMs = Math.min(nextMs, this.#bucket.waitMs());
        break;
      }
      this.#underWay.set(pod.uid, this.#lift(pod));
    }
    if (nextMs !== Number.POSITIVE_INFINITY) this.#wake(nextMs);
  }

  async #lift(pod: GatedPod): Promise<void> {
    const { api, clock, logger } = this.#options;
    try {
      await api.lift(pod, AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(LIFT_TIMEOUT_MS)]));
      this.#lifted++;
      this.remove(pod.uid);
    } catch (error) {
      if (!this.#stopping.signal.aborted) {
        logger.warn('a gate was not lifted', { pod: `${pod.namespace}/${pod.name}`, retryMs: RETRY_MS, error });
        if (this.#waiting.has(pod.uid)) this.#notBefore.set(pod.uid, clock.monotonicMs() + RETRY_MS);
      }
    } finally {
      this.#underWay.delete(pod.uid);
      this.#wake(0);
    }
  }
}
