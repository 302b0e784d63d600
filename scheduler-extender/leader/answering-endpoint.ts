import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';

/** Where it is written who answers. */
export interface EndpointStore {
  /** This one does: whoever was named before is not any more. Rejects where the API server cannot be asked. */
  write(signal: AbortSignal): Promise<void>;
  /** Nobody does, unless another one is named by now. Rejects as `write` does. */
  clear(signal: AbortSignal): Promise<void>;
}

export type AnsweringEndpointOptions = {
  readonly store: EndpointStore;
  readonly isAnswering: () => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
};

const LOOK_MS = 250;
/** Somebody may have taken away what was written: the gate does where this one seems to hang. */
const AGAIN_MS = 5000;
/** After such a pause that is likely. */
const HELD_MS = 1000;
const WRITE_TIMEOUT_MS = 5000;

/**
 * Leads a Service to the one that answers, and to no other, while all replicas may be Ready: what waits for them all (Helm, Flux, Argo CD, a
 * disruption budget) is right to.
 */
export class AnsweringEndpoint {
  readonly #options: AnsweringEndpointOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  /** When what is written is to be written again; undefined: nothing is. */
  #againMs: number | undefined;
  #lookedMs = Number.POSITIVE_INFINITY;

  constructor(options: AnsweringEndpointOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.#look();
      await clock.sleep(LOOK_MS, signal).catch(() => undefined); // the loop looks at the signal
    }
  }

  async #look(): Promise<void> {
    const { store, isAnswering, clock, logger } = this.#options;
    const isWritten = this.#againMs !== undefined;
    const nowMs = clock.monotonicMs();
    const wasHeld = nowMs - this.#lookedMs > HELD_MS;
    this.#lookedMs = nowMs;
    const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(WRITE_TIMEOUT_MS)]);
    try {
      if (!isAnswering()) {
        if (isWritten) await store.clear(signal);
        this.#againMs = undefined;
        return;
      }
      if (this.#againMs !== undefined && nowMs < this.#againMs && !wasHeld) return;
      await store.write(signal);
      this.#againMs = clock.monotonicMs() + AGAIN_MS;
      if (!isWritten) logger.info('the Service leads here');
    } catch (error) {
      if (!this.#stopping.signal.aborted) logger.warn('where the Service leads cannot be changed yet', { error });
    }
  }
}
