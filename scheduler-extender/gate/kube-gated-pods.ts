import type { CoreV1Api, KubeConfig, V1Pod } from '@kubernetes/client-node';
import { raceAbort } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { GatedPod, GatedPodApi, GatedPodSink } from './gated-pods.ts';

type ClientLibrary = typeof import('@kubernetes/client-node');

export type KubeGatedPodsOptions = {
  /** A path; '' as the pod that this process runs in. */
  readonly kubeconfig: string;
  /** The name of the scheduling gate. */
  readonly gate: string;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** Gated pods have no node and are pending: of 50,000 pods the API server looks at those and sends few. */
const UNPLACED = 'spec.nodeName=,status.phase=Pending';
const PODS = '/api/v1/pods';
const PAGE_ITEMS = 200;
const FIRST_RETRY_MS = 250;
const MOST_RETRY_MS = 15_000;
/** The API server ends a watch after this: one that has silently died is found out. */
const WATCH_SECONDS = 300;

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
    const config = new library.KubeConfig();
    const { kubeconfig } = options;
    try {
      if (kubeconfig === '') config.loadFromCluster();
      else config.loadFromFile(kubeconfig);
    } catch (err) {
      const source = kubeconfig === '' ? 'the service account of this pod' : kubeconfig;
      throw NabuError.of('CONFIG_INVALID', { source, reason: 'it is no usable kubeconfig' }, { cause: err });
    }
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

  async lift({ uid, namespace, name }: GatedPod, signal: AbortSignal): Promise<void> {
    // By a strategic merge, so that gates of others that come and go meanwhile stay; by UID, so that it is this pod and no later one.
    const body = {
      metadata: { uid },
      spec: { schedulingGates: [{ $patch: 'delete', name: this.#options.gate }] },
    };
    const { setHeaderOptions, PatchStrategy } = this.#library;
    const type = setHeaderOptions('Content-Type', PatchStrategy.StrategicMergePatch);
    try {
      await raceAbort(this.#api.patchNamespacedPod({ name, namespace, body }, type), signal, 'lifting a gate');
    } catch (err) {
      const code: unknown = Reflect.get(Object(err), 'code');
      if (code === 404 || code === 409) return; // it is gone, or another one by its name
      if (NabuError.is(err)) throw err;
      const reason = typeof code === 'number' ? `status ${code}` : 'the connection failed';
      throw NabuError.of('UNAVAILABLE', { target: 'the API server', reason }, { cause: err });
    }
  }

  async #follow(sink: GatedPodSink, signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    let retryMs = FIRST_RETRY_MS;
    while (!signal.aborted) {
      try {
        const version = await raceAbort(this.#list(sink), signal, 'listing gated pods');
        retryMs = FIRST_RETRY_MS;
        await this.#watch(sink, version, signal);
      } catch (error) {
        if (signal.aborted) return;
        logger.warn('gated pods cannot be followed', { retryMs, error });
      }
      // A watch that has ended by itself too: what it missed is in the next list.
      await clock.sleep(retryMs, signal).catch(() => undefined); // the loop looks at the signal
      retryMs = Math.min(retryMs * 2, MOST_RETRY_MS);
    }
  }

  /** Tells all; returns the version of the list. */
  async #list(sink: GatedPodSink): Promise<string> {
    const pods: GatedPod[] = [];
    for (let next: string | undefined; ; ) {
      const page = await this.#api.listPodForAllNamespaces({
        fieldSelector: UNPLACED,
        limit: PAGE_ITEMS,
        ...(next === undefined ? {} : { _continue: next }),
      });
      for (const pod of page.items) if (this.#isGated(pod)) pods.push(gatedPod(pod));
      next = page.metadata?._continue || undefined;
      if (next !== undefined) continue;
      sink.replace(pods);
      return page.metadata?.resourceVersion ?? '';
    }
  }

  async #watch(sink: GatedPodSink, resourceVersion: string, signal: AbortSignal): Promise<void> {
    const ended = Promise.withResolvers<void>();
    const query = {
      fieldSelector: UNPLACED,
      resourceVersion,
      allowWatchBookmarks: true,
      timeoutSeconds: WATCH_SECONDS,
    };
    const heard = (phase: string, pod: V1Pod): void => {
      if (phase === 'ERROR')
        ended.resolve(); // 410 Gone among them: from a new list
      else if (phase === 'BOOKMARK') return;
      else if (phase !== 'DELETED' && this.#isGated(pod)) sink.put(gatedPod(pod));
      else sink.remove(pod.metadata?.uid ?? '');
    };
    const watch = new this.#library.Watch(this.#config);
    const controller = await watch.watch(PODS, query, heard, (err) => (err ? ended.reject(err) : ended.resolve()));
    try {
      await raceAbort(ended.promise, signal, 'watching gated pods');
    } finally {
      controller.abort();
    }
  }

  #isGated({ spec }: V1Pod): boolean {
    return spec?.schedulingGates?.some(({ name }) => name === this.#options.gate) === true;
  }
}

function gatedPod({ metadata }: V1Pod): GatedPod {
  return { uid: metadata?.uid ?? '', namespace: metadata?.namespace ?? '', name: metadata?.name ?? '' };
}
