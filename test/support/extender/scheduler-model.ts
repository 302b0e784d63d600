import type { SimClock } from '../../../common/ports/index.ts';
import type { GatedPod } from '../../../scheduler-extender/gate/index.ts';

/** kube-scheduler 1.36, podInitialBackoffSeconds and podMaxBackoffSeconds as they are by default. */
const BACKOFF_MS = [1000, 2000, 4000, 8000, 10_000] as const;

export type SchedulerModelOptions = {
  readonly clock: SimClock;
  /** One stranger's turn, and one of ours with an extender that answers. */
  readonly turnMs: number;
  readonly httpTimeoutMs: number;
  readonly onJudged: (pod: GatedPod) => void;
};

type Queued = { readonly pod: GatedPod; errors: number };

/**
 * The one loop of kube-scheduler with more strangers than it can place: a pod of ours is tried as soon as its backoff is over, takes the
 * whole timeout while the extender hangs, and comes back after 1, 2, 4, 8 and then every 10 seconds.
 */
export class SchedulerModel {
  readonly #options: SchedulerModelOptions;
  readonly #ready: Queued[] = [];
  hangs = false;
  /** UIDs for which the extender answers with an error of their own. */
  readonly broken = new Set<string>();
  strangers = 0;

  constructor(options: SchedulerModelOptions) {
    this.#options = options;
    this.#turn();
  }

  add(pod: GatedPod): void {
    this.#ready.push({ pod, errors: 0 });
  }

  #turn(): void {
    const { clock, turnMs, httpTimeoutMs, onJudged } = this.#options;
    const next = this.#ready.shift();
    const { hangs } = this;
    const takesMs = next !== undefined && hangs ? httpTimeoutMs : turnMs;
    clock.setTimer(() => {
      if (next === undefined) this.strangers++;
      else if (hangs || this.broken.has(next.pod.uid)) this.#backOff(next);
      else onJudged(next.pod);
      this.#turn();
    }, takesMs);
  }

  #backOff(queued: Queued): void {
    const delayMs = BACKOFF_MS[queued.errors] ?? BACKOFF_MS[4];
    queued.errors++;
    this.#options.clock.setTimer(() => this.#ready.push(queued), delayMs);
  }
}
