/** A pod that waits behind our gate. */
export type GatedPod = { readonly uid: string; readonly namespace: string; readonly name: string };

/** Who wants to hear of them. Telling the same pod twice changes nothing. */
export interface GatedPodSink {
  /** All that there are: others are gone. */
  replace(pods: readonly GatedPod[]): void;
  put(pod: GatedPod): void;
  remove(uid: string): void;
}

/** The API server, as far as the gate needs it. */
export interface GatedPodApi {
  /** Tells of the pods behind the gate until it is stopped; after an error again from the start. */
  follow(sink: GatedPodSink): { stop(): Promise<void> };
  /** Takes our gate off the pod. Nothing to do where the pod, or its gate, is gone. Rejects where the API server cannot be asked. */
  lift(pod: GatedPod, signal: AbortSignal): Promise<void>;
}
