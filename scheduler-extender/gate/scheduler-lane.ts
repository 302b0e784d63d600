import type { GatedPod } from './gated-pods.ts';

/** A scheduler has tried a pod five times by then, and comes back to it every ten seconds. */
const STUCK_MS = 30_000;
/** So many windows of pods may be stuck beside those of the window. */
const STUCK_WINDOWS = 4;

type Asking = {
  sinceMs: number;
  /** Others that came later have been judged: it is not the extender that this one waits for. */
  hasOwnTrouble: boolean;
};

/**
 * Pods of ours for one scheduler: those that wait, and those that are with it and not judged, of which there are no more than the
 * window, however fast the gate could lift: all of them ask at once where the extender begins to hang.
 *
 * A pod whose trouble is another one (its errors come back for ever) must not stop all others: after a time its place is given to the
 * next, up to a bound, and when that one is judged it is clear that the extender answers, and the first no longer counts.
 */
export class SchedulerLane {
  /** By UID, in the order that they came. */
  readonly waiting = new Map<string, GatedPod>();
  readonly #asking = new Map<string, Asking>();
  readonly #window: number;

  constructor(window: number) {
    this.#window = window;
  }

  /** With the scheduler and not judged. */
  get asking(): number {
    return this.#asking.size;
  }

  get isEmpty(): boolean {
    return this.waiting.size + this.#asking.size === 0;
  }

  has(uid: string): boolean {
    return this.waiting.has(uid) || this.#asking.has(uid);
  }

  wait(pod: GatedPod): void {
    // Let through already: this is older news.
    if (!this.#asking.has(pod.uid)) this.waiting.set(pod.uid, pod);
  }

  /** It goes to the scheduler, or is found there. */
  enter(uid: string, nowMs: number): void {
    this.waiting.delete(uid);
    if (!this.#asking.has(uid)) this.#asking.set(uid, { sinceMs: nowMs, hasOwnTrouble: false });
  }

  /** It was not let through after all. */
  takeBack(pod: GatedPod): void {
    if (this.#asking.delete(pod.uid)) this.waiting.set(pod.uid, pod);
  }

  /** It has been judged, or is gone; whether it was here. */
  leave(uid: string, nowMs: number): boolean {
    const left = this.#asking.get(uid);
    this.#asking.delete(uid);
    if (left === undefined) return this.waiting.delete(uid);
    if (nowMs - left.sinceMs >= STUCK_MS) return true;
    for (const other of this.#asking.values()) if (nowMs - other.sinceMs >= STUCK_MS) other.hasOwnTrouble = true;
    return true;
  }

  /** All that are not in `there` are gone. */
  keep(there: ReadonlySet<string>, nowMs: number): void {
    for (const uid of [...this.waiting.keys(), ...this.#asking.keys()]) if (!there.has(uid)) this.leave(uid, nowMs);
  }

  /** Nobody could be judged until now: what has waited so long is not stuck by itself. */
  restart(nowMs: number): void {
    for (const asking of this.#asking.values()) asking.sinceMs = nowMs;
  }

  /** How many more may go. `isPlaced`: what else is known of pods that have been judged. */
  room(nowMs: number, isPlaced: (uid: string) => boolean): number {
    const most = this.#window * (1 + STUCK_WINDOWS);
    let [fresh, all] = [0, 0];
    for (const [uid, { sinceMs, hasOwnTrouble }] of this.#asking) {
      if (hasOwnTrouble || isPlaced(uid)) continue;
      all++;
      if (nowMs - sinceMs < STUCK_MS) fresh++;
      if (fresh >= this.#window || all >= most) return 0;
    }
    return Math.min(this.#window - fresh, most - all);
  }
}
