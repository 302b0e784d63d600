import { type Deadline, Semaphore } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { type ClientOf, GrpcClient } from '../../common/grpc/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { services } from '../../proto/gen/kubelet.js';
import { type ContainerHolding, holdersAmong, type PodHolding, podHolding } from './holding.ts';

export type PodResourcesOptions = {
  /** The kubelet's, /var/lib/kubelet/pod-resources/kubelet.sock. It need not be there yet. */
  readonly socket: string;
  readonly clock: Clock;
  /** A larger answer is refused. */
  readonly maxMessageBytes?: number;
};

/** 250 pods with all CPUs of a large machine named one by one are about a megabyte. */
const MESSAGE_BYTES = 16 << 20;
/** The kubelet answers 100 calls a second, and 10 at once (Kubernetes 1.36, pkg/kubelet/apis/podresources/constants.go). */
const CALLS_AT_ONCE = 4;
const CALLS_WAITING = 1024;
const FIRST_PAUSE_MS = 20;
/** Where there is no kubelet for long, asking must not cost what the rest of this process does not. */
const MOST_PAUSE_MS = 2000;
const MOST_RECONNECT_MS = 1000;

type Lister = ClientOf<(typeof services)['v1.PodResourcesLister']>;

/**
 * A kubelet that is starting has no socket; one that is asked too often says so (pkg/kubelet/apis/grpc, ErrorLimitExceeded).
 * An answer that is larger than we take has the same status and would be as large the next time.
 */
function isPassing(err: unknown): err is NabuError {
  if (NabuError.is(err, 'UNAVAILABLE')) return true;
  return NabuError.is(err, 'RESOURCE_EXHAUSTED') && /rate limit/.test(err.message);
}

/** The kubelet gives these two no status of their own (Kubernetes 1.36, pkg/kubelet/apis/podresources/server_v1.go). */
function isNoSuchPod(err: unknown): boolean {
  return NabuError.is(err, 'PROTOCOL_ERROR') && /\bnot found\b/.test(err.message);
}

/** Before 1.34 by default. */
function isWithoutGet(err: unknown): boolean {
  return (
    NabuError.is(err, 'UNIMPLEMENTED') || (NabuError.is(err, 'PROTOCOL_ERROR') && /\bdisabled\b/.test(err.message))
  );
}

/** The kubelet's pod resources API v1: which container holds which device. Asked anew each time, nothing is kept. */
export class PodResources {
  readonly #clock: Clock;
  readonly #grpc: GrpcClient;
  readonly #lister: Lister;
  readonly #calls = new Semaphore({
    name: 'calls of the pod resources API',
    permits: CALLS_AT_ONCE,
    maxWaiters: CALLS_WAITING,
  });

  constructor({ socket, clock, maxMessageBytes = MESSAGE_BYTES }: PodResourcesOptions) {
    this.#clock = clock;
    this.#grpc = new GrpcClient({
      address: { kind: 'unix', path: socket },
      maxMessageBytes,
      maxReconnectMs: MOST_RECONNECT_MS,
    });
    this.#lister = this.#grpc.service(services['v1.PodResourcesLister']);
  }

  /**
   * All pods of this node that have been admitted and have not ended, started or not. While the kubelet is away or wants
   * to be asked less often it is asked again; at the deadline throws what it said last: UNAVAILABLE, RESOURCE_EXHAUSTED,
   * or TIMEOUT where it said nothing. Throws UNIMPLEMENTED where the kubelet has no such API, RESOURCE_EXHAUSTED at once
   * for an answer that is too large, QUEUE_FULL when too many wait.
   */
  async list(deadline: Deadline): Promise<readonly PodHolding[]> {
    const { podResources } = await this.#ask(deadline, () => this.#lister.list({}, { deadline }));
    return podResources.map(podHolding);
  }

  /**
   * One pod, at a small part of what the list of all costs the kubelet and us; undefined where the kubelet has no such pod.
   * Throws as `list` does.
   */
  async podOf(namespace: string, name: string, deadline: Deadline): Promise<PodHolding | undefined> {
    try {
      const request = { podName: name, podNamespace: namespace };
      const { podResources } = await this.#ask(deadline, () => this.#lister.get(request, { deadline }));
      return podResources === null ? undefined : podHolding(podResources);
    } catch (err) {
      if (isNoSuchPod(err)) return undefined;
      if (!isWithoutGet(err)) throw err;
      return (await this.list(deadline)).find((pod) => pod.namespace === namespace && pod.name === name);
    }
  }

  /** The container that holds a device; undefined where none is shown, or more than one. Throws as `list` does. */
  async holderOf(resource: string, id: string, deadline: Deadline): Promise<ContainerHolding | undefined> {
    const [holder, ...others] = holdersAmong(await this.list(deadline), resource, id);
    return others.length === 0 ? holder : undefined;
  }

  close(): void {
    this.#grpc.close();
  }

  async #ask<T>(deadline: Deadline, call: () => Promise<T>): Promise<T> {
    return await this.#calls.run(() => this.#askUntil(deadline, call), { signal: deadline.signal });
  }

  async #askUntil<T>(deadline: Deadline, call: () => Promise<T>): Promise<T> {
    let last: NabuError | undefined;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MOST_PAUSE_MS)) {
      try {
        return await call();
      } catch (err) {
        if (!isPassing(err)) throw last !== undefined && deadline.expired ? last : err;
        last = err;
      }
      if (deadline.remainingMs() <= pauseMs) throw last;
      await this.#clock.sleep(pauseMs, deadline.signal);
    }
  }
}
