import type { SimClock } from '../../../common/ports/index.ts';
import type { GatedPod, GatedPodApi, GatedPodSink, Whereabouts } from '../../../scheduler-extender/gate/index.ts';

export function gatedPods(count: number, from = 0, scheduler = 'default-scheduler'): GatedPod[] {
  return Array.from({ length: count }, (_, at) => {
    return { uid: `u${from + at}`, namespace: 'ns', name: `p${from + at}`, scheduler };
  });
}

/** An API server as the gate sees it: pods behind the gate, when each was let through, and what became of it. */
export class GatedApi implements GatedPodApi {
  readonly #clock: SimClock;
  readonly gated = new Map<string, GatedPod>();
  /** Let through, and neither placed nor refused. */
  readonly unjudged = new Map<string, GatedPod>();
  readonly lifted: { readonly name: string; readonly atMs: number }[] = [];
  readonly #sinks = new Set<GatedPodSink>();
  fails: ((pod: GatedPod) => boolean) | undefined;
  /** The scheduler hears of a pod. */
  onLifted: (pod: GatedPod) => void;

  /** Without a scheduler given, whoever is let through is placed at once. */
  constructor(clock: SimClock, onLifted?: (pod: GatedPod) => void) {
    this.#clock = clock;
    this.onLifted = onLifted ?? (({ uid }) => this.judge(uid));
  }

  add(...some: readonly GatedPod[]): void {
    for (const pod of some) {
      this.gated.set(pod.uid, pod);
      for (const sink of this.#sinks) sink.put(pod, 'gate');
    }
  }

  /** Placed, refused or deleted. */
  judge(uid: string): void {
    this.unjudged.delete(uid);
    for (const sink of this.#sinks) sink.remove(uid);
  }

  /** It was refused before, and comes back with an error. */
  fail(pod: GatedPod): void {
    this.unjudged.set(pod.uid, pod);
    for (const sink of this.#sinks) sink.put(pod, 'scheduler');
  }

  follow(sink: GatedPodSink): { stop(): Promise<void> } {
    this.#sinks.add(sink);
    const told = (pods: Map<string, GatedPod>, where: Whereabouts): (readonly [GatedPod, Whereabouts])[] => {
      return [...pods.values()].map((pod) => [pod, where] as const);
    };
    sink.replace([...told(this.gated, 'gate'), ...told(this.unjudged, 'scheduler')]);
    return { stop: async () => void this.#sinks.delete(sink) };
  }

  async lift(pod: GatedPod): Promise<boolean> {
    if (this.fails?.(pod) === true) throw new Error('the API server is away');
    if (!this.gated.delete(pod.uid)) return false;
    this.lifted.push({ name: pod.name, atMs: this.#clock.monotonicMs() });
    this.unjudged.set(pod.uid, pod);
    for (const sink of this.#sinks) sink.put(pod, 'scheduler');
    this.onLifted(pod);
    return true;
  }
}
