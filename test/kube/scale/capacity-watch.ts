import type { KubeApi } from '../plane/kube-api.ts';

const CAPACITIES = '/apis/storage.k8s.io/v1/csistoragecapacities';

type CapacityObject = {
  readonly metadata: { readonly name: string };
  readonly storageClassName: string;
  readonly capacity?: string;
};

/** Quantities as the provisioner writes them: whole bytes, or whole KiB, MiB and so on. */
export function bytesOf(quantity: string): number {
  const [, digits = '', unit = ''] = /^(\d+)(Ki|Mi|Gi|Ti|Pi|)$/.exec(quantity) ?? [];
  if (digits === '') throw new Error(`${quantity} is no size`);
  return Number(digits) * 1024 ** ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi'].indexOf(unit);
}

/** What is published of a storage class, and when it first rose. */
export class CapacityWatch {
  /** By the name of the object. */
  readonly bytes = new Map<string, number>();
  /** On the monotonic clock; whoever forgets it waits for the next time. */
  roseMs: number | undefined;
  readonly #className: string;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #trouble: unknown;

  private constructor(className: string) {
    this.#className = className;
  }

  static async start(api: KubeApi, className: string): Promise<CapacityWatch> {
    const watch = new CapacityWatch(className);
    const { items, metadata } = (await api.get(CAPACITIES)) as {
      readonly items: readonly CapacityObject[];
      readonly metadata: { readonly resourceVersion: string };
    };
    for (const object of items) watch.#hear(object);
    watch.roseMs = undefined;
    const hear = (_: string, object: unknown): void => watch.#hear(object as CapacityObject);
    watch.#running = api.watch(CAPACITIES, metadata.resourceVersion, watch.#stopping.signal, hear).catch((error) => {
      watch.#trouble = error;
    });
    return watch;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    if (this.#trouble !== undefined) throw this.#trouble;
  }

  #hear({ metadata: { name }, storageClassName, capacity }: CapacityObject): void {
    if (storageClassName !== this.#className || capacity === undefined) return;
    const bytes = bytesOf(capacity);
    if (bytes > (this.bytes.get(name) ?? 0)) this.roseMs ??= performance.now();
    this.bytes.set(name, bytes);
  }
}
