import type { CoreV1Api, KubeConfig, V1Pod } from '@kubernetes/client-node';
import { raceAbort } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { kubeConfigOf } from '../kube-access/index.ts';
import type { GatedPod, GatedPodApi, GatedPodSink, Whereabouts } from './gated-pods.ts';
import { whereabouts } from './whereabouts.ts';

type ClientLibrary = typeof import('@kubernetes/client-node');

export type KubeGatedPodsOptions = {
  /** A path; '' as the pod that this process runs in. */
  readonly kubeconfig: string;
  /** The name of the scheduling gate. */
  readonly gate: string;
  /** The extended resource by which a scheduler knows whom to ask us about. */
  readonly marker: string;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** Those that we look for have no node and are pending: of 50,000 pods the API server looks at those and sends few. */
const UNPLACED = 'spec.nodeName=,status.phase=Pending';
const PODS = '/api/v1/pods';
const PAGE_ITEMS = 200;
const FIRST_RETRY_MS = 250;
const MOST_RETRY_MS = 15_000;
/** The API server ends a watch after this: one that has silently died is found out. */
const WATCH_SECONDS = 300;
const LIST_TIMEOUT_MS = 60_000;

/** Pods behind the gate by a real API server. */
export class KubeGatedPods implements GatedPodApi {
  readonly #library: ClientLibrary;
  readonly #config: KubeConfig;
  readonly #api: CoreV1Api;
  readonly #options: KubeGatedPodsOptions;

  private constructor(library: ClientLibrary, config: KubeConfig, options: KubeGatedPodsOptions) {
    this.#library = library;
    this.#config = config;
    this.#api = config.makeApiClient(library.CoreV1Api);
    this.#options = options;
  }

  /** Throws CONFIG_INVALID. */
  static async open(options: KubeGatedPodsOptions): Promise<KubeGatedPods> {
    const library = await import('@kubernetes/client-node');
    const config = kubeConfigOf(library, options.kubeconfig);
    return new KubeGatedPods(library, config, options);
  }

  follow(sink: GatedPodSink): { stop(): Promise<void> } {
    const stopping = new AbortController();
    const following = this.#follow(sink, stopping.signal);
    return {
      stop: async () => {
        stopping.abort();
        await following;
      },
    };
  }

  async lift({ uid, namespace, name }: GatedPod, signal: AbortSignal): Promise<boolean> {
    // By a strategic merge, so that gates of others that come and go meanwhile stay; by UID, so that it is this pod and no later one.
    const body = {
      metadata: { uid },
      spec: { schedulingGates: [{ $patch: 'delete', name: this.#options.gate }] },
    };
    const { setHeaderOptions, PatchStrategy } = this.#library;
    const type = setHeaderOptions('Content-Type', PatchStrategy.StrategicMergePatch);
    try {
      await raceAbort(this.#api.patchNamespacedPod({ name, namespace, body }, type), signal, 'lifting a gate');
      return true;
    } catch (err) {
      const code: unknown = Reflect.get(Object(err), 'code');
      if (code === 404 || code === 409) return false; // it is gone, or another one by its name
      if (NabuError.is(err)) throw err;
      const reason = typeof code === 'number' ? `status ${code}` : 'the connection failed';
      throw NabuError.of('UNAVAILABLE', { target: 'the API server', reason }, { cause: err });
    }
  }

  async #follow(sink: GatedPodSink, signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    let retryMs = FIRST_RETRY_MS;
    /** Where a watch goes on; '' for a new list. */
    let version = '';
    while (!signal.aborted) {
      try {
        if (version === '') version = await this.#list(sink, signal);
        retryMs = FIRST_RETRY_MS;
        version = await this.#watch(sink, version, signal);
      } catch (error) {
        if (signal.aborted) return;
        version = '';
        logger.warn('pods behind the gate cannot be followed', { retryMs, error });
      }
      await clock.sleep(retryMs, signal).catch(() => undefined); // the loop looks at the signal
      retryMs = Math.min(retryMs * 2, MOST_RETRY_MS);
    }
  }

  /** Tells all; returns the version of the list. */
  async #list(sink: GatedPodSink, signal: AbortSignal): Promise<string> {
    const pods: (readonly [GatedPod, Whereabouts])[] = [];
    const late = AbortSignal.any([signal, AbortSignal.timeout(LIST_TIMEOUT_MS)]);
    for (let next: string | undefined; ; ) {
      const query = { fieldSelector: UNPLACED, limit: PAGE_ITEMS, ...(next === undefined ? {} : { _continue: next }) };
      const page = await raceAbort(this.#api.listPodForAllNamespaces(query), late, 'listing pods behind the gate');
      for (const pod of page.items) {
        const where = this.#where(pod);
        if (where !== undefined) pods.push([gatedPod(pod), where]);
      }
      next = page.metadata?._continue || undefined;
      if (next !== undefined) continue;
      sink.replace(pods);
      return page.metadata?.resourceVersion ?? '';
    }
  }

  /** Resolves with the last version that was told when the server ends the watch, '' where it has to be listed anew. */
  async #watch(sink: GatedPodSink, resourceVersion: string, signal: AbortSignal): Promise<string> {
    const ended = Promise.withResolvers<void>();
    let version = resourceVersion;
    const query = {
      fieldSelector: UNPLACED,
      resourceVersion,
      allowWatchBookmarks: true,
      timeoutSeconds: WATCH_SECONDS,
    };
    const heard = (phase: string, pod: V1Pod): void => {
      if (phase === 'ERROR') {
        version = ''; // 410 Gone among them
        ended.resolve();
        return;
      }
      version = pod.metadata?.resourceVersion ?? version;
      if (phase === 'BOOKMARK') return;
      const where = phase === 'DELETED' ? undefined : this.#where(pod);
      if (where === undefined) sink.remove(pod.metadata?.uid ?? '');
      else sink.put(gatedPod(pod), where);
    };
    const watch = new this.#library.Watch(this.#config);
    const done = (err: unknown): void => (err && !isSilence(err) ? ended.reject(err) : ended.resolve());
    const controller = await watch.watch(PODS, query, heard, done);
    try {
      await raceAbort(ended.promise, signal, 'watching pods behind the gate');
      return version;
    } finally {
      controller.abort();
    }
  }

  #where(pod: V1Pod): Whereabouts | undefined {
    return whereabouts(pod, this.#options.gate, this.#options.marker);
  }
}

/** The library ends a watch of which it has heard nothing for half a minute: nothing was missed. */
function isSilence(err: unknown): boolean {
  return err instanceof DOMException && err.name === 'TimeoutError';
}

function gatedPod({ metadata, spec }: V1Pod): GatedPod {
  return {
    uid: metadata?.uid ?? '',
    namespace: metadata?.namespace ?? '',
    name: metadata?.name ?? '',
    scheduler: spec?.schedulerName ?? '',
  };
}
