import { z } from 'zod';
import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import { RESOURCE_DOMAIN } from '../config/index.ts';
import type { KubeClient } from '../kube-api/index.ts';
import { Backoff, type Unsubscribe } from '../kubelet/index.ts';
import { RESOURCE_API_PATH } from './resource-api.ts';

const CLASSES = `${RESOURCE_API_PATH}/deviceclasses`;
const CALL_MS = 10_000;
const FIRST_PAUSE_MS = 500;
const MOST_PAUSE_MS = 60_000;

const classListSchema = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string() }),
  items: z.array(
    z.looseObject({
      metadata: z.looseObject({ name: z.string() }),
      spec: z.looseObject({ extendedResourceName: z.string().optional() }),
    }),
  ),
});

export type ExtendedNamesOptions = {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

/** Pure. Our resource names that a class maps, and which class: of several the first by name. */
export function mappedNames(list: unknown): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const items = [...classListSchema.parse(list).items].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  for (const { metadata, spec } of items) {
    const name = spec.extendedResourceName;
    if (name?.startsWith(`${RESOURCE_DOMAIN}/`) === true && !names.has(name)) names.set(name, metadata.name);
  }
  return names;
}

/**
 * Names of extended resources that a DeviceClass maps to claims (extendedResourceName; DRAExtendedResource, beta in Kubernetes
 * 1.36; where it is off the API server drops the field and none is mapped). A scheduler that finds such a name in what a node
 * can allocate takes the device plugin's (1.36, noderesources, shouldDelegateResourceToDRA), so a node whose devices are for
 * claims must not register it.
 */
export class ExtendedNames {
  readonly #options: ExtendedNamesOptions;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<() => void>();
  #names: ReadonlyMap<string, string> = new Map();
  #running: Promise<void> = Promise.resolve();
  #cause: string | undefined;

  constructor(options: ExtendedNamesOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ firstMs: FIRST_PAUSE_MS, mostMs: MOST_PAUSE_MS }, options.random);
  }

  /** The class by the name that it maps, as last heard; none before the API server was reached. */
  get names(): ReadonlyMap<string, string> {
    return this.#names;
  }

  watch(listener: () => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'watching device classes' }));
    await this.#running;
    this.#listeners.clear();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#listAndWatch(signal);
      } catch (err) {
        if (!signal.aborted) this.#report(err);
      }
      await this.#options.clock.sleep(this.#backoff.pauseMs(), signal).catch(() => undefined);
    }
  }

  /** Whatever changes, all are listed again: classes are few and change seldom. */
  async #listAndWatch(signal: AbortSignal): Promise<void> {
    const { client, clock } = this.#options;
    using deadline = new Deadline({ clock, operation: `GET ${CLASSES}`, timeoutMs: CALL_MS, parent: signal });
    const list = await client.call({ method: 'GET', path: CLASSES, deadline });
    this.#become(mappedNames(list));
    this.#cause = undefined;
    const { resourceVersion } = classListSchema.parse(list).metadata;
    for await (const { type } of client.watch(CLASSES, { resourceVersion }, signal)) {
      this.#backoff.reset();
      if (type !== 'BOOKMARK') return;
    }
  }

  #become(names: ReadonlyMap<string, string>): void {
    const isSame = names.size === this.#names.size && [...names].every(([name, by]) => this.#names.get(name) === by);
    this.#names = names;
    if (!isSame) for (const listener of [...this.#listeners]) listener();
  }

  #report(err: unknown): void {
    const cause = NabuError.is(err) ? `${err.code}: ${err.message}` : String(err);
    if (cause !== this.#cause) this.#options.logger.warn('device classes cannot be watched', { error: err });
    this.#cause = cause;
  }
}
