import { until } from '../host/until.ts';
import type { KubeApi } from '../plane/kube-api.ts';
import { PODS } from './objects.ts';

export type SeenPod = {
  readonly name: string;
  readonly uid: string;
  /** '' while it has none. */
  readonly node: string;
  readonly phase: string;
  /** Why it has no node, as people read it; '' while nobody has said. */
  readonly unschedulable: string;
  /** When it was first seen with a node, on the monotonic clock. */
  readonly boundMs: number | undefined;
};

type PodObject = {
  readonly metadata: { readonly name: string; readonly uid: string; readonly resourceVersion: string };
  readonly spec: { readonly nodeName?: string };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly { readonly reason?: string; readonly message?: string }[];
  };
};

type PodList = { readonly items: readonly PodObject[]; readonly metadata: { readonly resourceVersion: string } };

/** The pods of a test as the API server tells of them: asking again and again would cost it more than scheduling them. */
export class PodWatch {
  readonly pods = new Map<string, SeenPod>();
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #trouble: unknown;

  /** Resolves when all that is there has been told. */
  static async start(api: KubeApi): Promise<PodWatch> {
    const watch = new PodWatch();
    const version = await watch.#list(api);
    watch.#running = watch.#follow(api, version).catch((error) => {
      watch.#trouble = error;
    });
    return watch;
  }

  /** The server ends a watch that it finds too slow, as one may be on a busy machine: from a new list on, again. */
  async #follow(api: KubeApi, from: string): Promise<void> {
    const hear = (type: string, object: unknown): void => this.#hear(type, object as PodObject);
    for (let version = from; !this.#stopping.signal.aborted; ) {
      await api.watch(PODS, version, this.#stopping.signal, hear);
      if (!this.#stopping.signal.aborted) version = await this.#list(api);
    }
  }

  async #list(api: KubeApi): Promise<string> {
    const { items, metadata } = (await api.get(PODS)) as PodList;
    const there = new Set(items.map((pod) => pod.metadata.name));
    for (const name of this.pods.keys()) if (!there.has(name)) this.pods.delete(name);
    for (const pod of items) this.#hear('MODIFIED', pod);
    return metadata.resourceVersion;
  }

  count(is: (pod: SeenPod) => boolean): number {
    return [...this.pods.values()].filter(is).length;
  }

  async until(what: string, timeoutMs: number, isSo: () => boolean): Promise<void> {
    await until(what, timeoutMs, async () => {
      if (this.#trouble !== undefined) throw this.#trouble;
      if (isSo()) return true;
      const waiting = [...this.pods.values()].find(({ node }) => node === '');
      const bound = this.count(({ node }) => node !== '');
      throw new Error(`${bound} of ${this.pods.size} have a node; ${waiting?.name}: ${waiting?.unschedulable}`);
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  #hear(type: string, { metadata: { name, uid }, spec, status }: PodObject): void {
    if (type === 'DELETED') {
      this.pods.delete(name);
      return;
    }
    if (type !== 'ADDED' && type !== 'MODIFIED') return;
    const node = spec.nodeName ?? '';
    const before = this.pods.get(name);
    this.pods.set(name, {
      name,
      uid,
      node,
      phase: status?.phase ?? '',
      unschedulable: status?.conditions?.find(({ reason }) => reason === 'Unschedulable')?.message ?? '',
      boundMs: before?.boundMs ?? (node === '' ? undefined : performance.now()),
    });
  }
}
