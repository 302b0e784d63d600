/** A pod of ours that is not placed yet. */
export type GatedPod = {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Its scheduler's name. */
  readonly scheduler: string;
};

/** Behind our gate, or with its scheduler and not judged: neither placed nor refused, so that the scheduler will ask (again). */
export type Whereabouts = 'gate' | 'scheduler';

/** Who wants to hear of them. Telling the same twice changes nothing. */
export interface GatedPodSink {
  /** All that there are: others are gone, placed or refused. */
  replace(pods: readonly (readonly [GatedPod, Whereabouts])[]): void;
  put(pod: GatedPod, where: Whereabouts): void;
  remove(uid: string): void;
}

/** The API server, as far as the gate needs it. */
export interface GatedPodApi {
  /** Tells of the pods behind the gate, and of those let through, until it is stopped; after an error again from the start. */
  follow(sink: GatedPodSink): { stop(): Promise<void> };
  /** Takes our gate off the pod; whether there is such a pod. Rejects where the API server cannot be asked. */
  lift(pod: GatedPod, signal: AbortSignal): Promise<boolean>;
}
