import { performance } from 'node:perf_hooks';
import { z } from 'zod';
import { until } from '../host/until.ts';
import type { KubeApi } from '../scale/kube-api.ts';
import { PODS } from '../scale/objects.ts';

const podSchema = z.object({
  metadata: z.object({ name: z.string() }),
  spec: z.object({ nodeName: z.string().optional() }),
});
const listSchema = z.object({ metadata: z.object({ resourceVersion: z.string() }) });

/** A pod that has got its node. */
export type Binding = { readonly pod: string; readonly node: string; readonly atMs: number };

/** Which pods get which nodes, in that order, from now on. */
export class Bindings {
  readonly all = new Map<string, Binding>();
  readonly #stopping = new AbortController();
  #watching: Promise<void> = Promise.resolve();

  static async follow(api: KubeApi): Promise<Bindings> {
    const bindings = new Bindings();
    const { metadata } = listSchema.parse(await api.get(`${PODS}?limit=1`));
    bindings.#watching = api.watch(PODS, metadata.resourceVersion, bindings.#stopping.signal, (type, object) => {
      if (type !== 'DELETED') bindings.#hear(object);
    });
    return bindings;
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
