import { performance } from 'node:perf_hooks';
import { z } from 'zod';
import { until } from '../host/until.ts';
import type { KubeApi } from '../plane/kube-api.ts';
import { PODS } from '../scale/objects.ts';

const podSchema = z.object({
  metadata: z.object({ name: z.string() }),
  spec: z.object({ nodeName: z.string().optional() }),
});
const listSchema = z.object({ metadata: z.object({ resourceVersion: z.string() }), items: z.array(z.unknown()) });

/** A pod that has got its node. */
export type Binding = { readonly pod: string; readonly node: string; readonly atMs: number };

/** Which pods get which nodes, in that order; those that have one already come first. */
export class Bindings {
  readonly all = new Map<string, Binding>();
  readonly #stopping = new AbortController();
  #watching: Promise<void> = Promise.resolve();

  static async follow(api: KubeApi): Promise<Bindings> {
    const bindings = new Bindings();
    bindings.#watching = bindings.#follow(api, await bindings.#list(api));
    return bindings;
  }

  /** What is there, and the version of it. */
  async #list(api: KubeApi): Promise<string> {
    const { metadata, items } = listSchema.parse(await api.get(PODS));
    for (const item of items) this.#hear(item);
    return metadata.resourceVersion;
  }

  /** The server ends a watch that it takes for too slow; what that has missed is in the next list. */
  async #follow(api: KubeApi, from: string): Promise<void> {
    const { signal } = this.#stopping;
    for (let version = from; !signal.aborted; ) {
      await api.watch(PODS, version, signal, (type, object) => {
        if (type !== 'DELETED') this.#hear(object);
      });
      if (!signal.aborted) version = await this.#list(api);
    }
  }

  #hear(object: unknown): void {
    const { success, data } = podSchema.safeParse(object);
    const node = data?.spec.nodeName;
    if (!success || node === undefined || this.all.has(data.metadata.name)) return;
    this.all.set(data.metadata.name, { pod: data.metadata.name, node, atMs: performance.now() });
  }

  async untilBound(count: number, timeoutMs: number): Promise<void> {
    await until(`${count} pods have nodes`, timeoutMs, async () => {
      if (this.all.size < count) throw new Error(`${this.all.size} have`);
      return true;
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#watching;
  }
}

/** Takes all pods away, at once. */
export async function removePods(api: KubeApi, timeoutMs: number): Promise<void> {
  await api.remove(`${PODS}?gracePeriodSeconds=0`);
  await until('all pods are gone', timeoutMs, async () => {
    const left = await api.list(PODS);
    if (left.length > 0) throw new Error(`${left.length} are left`);
    return true;
  });
}
