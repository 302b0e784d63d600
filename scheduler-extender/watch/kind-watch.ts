import type { KubeConfig, KubernetesListObject, ListWatch, Watch } from '@kubernetes/client-node';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import type { FactsOf, KindSink } from '../cluster/index.ts';
import type { KubeGet } from './kube-get.ts';
import type { KindSource, WatchedKind } from './watched-kinds.ts';

/** What stays of an object in the informer's own cache: enough to know it again. Whole pods would take ten times our memory. */
type Kept<F> = {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
  };
  /** Taken out as soon as it has been told. */
  facts: F | undefined;
};

type ClientLibrary = typeof import('@kubernetes/client-node');
type WatchCallback = Parameters<Watch['watch']>[2];

/** Small, so that what a page is parsed into dies young: with 500 the process needs twice the memory until all is known. */
const PAGE_ITEMS = 100;
const FIRST_RETRY_MS = 250;
const MOST_RETRY_MS = 30_000;
/** A resource that is not there may be installed later. */
const MISSING_RETRY_MS = 30_000;
/** Objects that cannot be understood and are told of once each; of more than these again and again. */
const MOST_ODD = 10_000;

export type KindWatchOptions<K extends WatchedKind> = {
  readonly library: ClientLibrary;
  readonly config: KubeConfig;
  readonly get: KubeGet;
  readonly sink: KindSink<K>;
  readonly clock: Clock;
  readonly logger: Logger;
};

export type WatchState = {
  readonly plural: string;
  /** Everything there was has been told at least once. */
  readonly synced: boolean;
  /** When the API server was last heard of, on the monotonic clock; undefined: never. */
  readonly heardMs: number | undefined;
  /** '' while nothing is wrong. */
  readonly trouble: string;
  /** Why there is nothing to hear of a kind that a cluster may be without. */
  readonly missing?: Missing;
  /** Objects that cannot be understood: what was known of them stays. */
  readonly odd?: number;
};

/** There is no such resource in the cluster, or this process may not read it. */
export type Missing = 'KUBE_NOT_FOUND' | 'PERMISSION_DENIED';

function missingBy(error: unknown): Missing | undefined {
  const [code, status]: unknown[] = [Reflect.get(Object(error), 'code'), Reflect.get(Object(error), 'statusCode')];
  if (code === 'KUBE_NOT_FOUND' || status === 404) return 'KUBE_NOT_FOUND';
  return code === 'PERMISSION_DENIED' || status === 403 ? 'PERMISSION_DENIED' : undefined;
}

function textOf(value: unknown, key: string): string {
  const text: unknown = Reflect.get(Object(value), key);
  return typeof text === 'string' ? text : '';
}

function metadataOf(object: unknown): Kept<never>['metadata'] {
  const meta: unknown = Reflect.get(Object(object), 'metadata');
  return {
    name: textOf(meta, 'name'),
    namespace: textOf(meta, 'namespace'),
    uid: textOf(meta, 'uid'),
    resourceVersion: textOf(meta, 'resourceVersion'),
  };
}

/** Versions are numbers that grow (Kubernetes API concepts, "Resource versions"); what is none is taken for older. */
function isOlder(before: string, after: string): boolean {
  const isNumber = /^\d{1,30}$/;
  return !isNumber.test(before) || !isNumber.test(after) || BigInt(before) < BigInt(after);
}

/** One kind of object from the API server into the index: listed in pages, then watched; after an error again, ever more slowly. */
export class KindWatch<K extends WatchedKind> {
  readonly #source: KindSource<K>;
  readonly #options: KindWatchOptions<K>;
  readonly #informer: ListWatch<Kept<FactsOf[K]>>;
  readonly #stopping = new AbortController();
  #retry: Timer | undefined;
  #retryMs = FIRST_RETRY_MS;
  #synced = false;
  readonly #syncing = Promise.withResolvers<void>();
  #listedFromMs = Number.NEGATIVE_INFINITY;
  #heardMs: number | undefined;
  #trouble = '';
  #missing: Missing | undefined;
  readonly #odd = new Set<string>();

  constructor(source: KindSource<K>, options: KindWatchOptions<K>) {
    this.#syncing.promise.catch(() => undefined); // nobody may be waiting when it is stopped
    this.#source = source;
    this.#options = options;
    const { ListWatch: Informer } = options.library;
    const { path, fieldSelector } = source;
    const list = (): Promise<KubernetesListObject<Kept<FactsOf[K]>>> => this.#list();
    this.#informer = new Informer<Kept<FactsOf[K]>>(path, this.#watch(), list, false, undefined, fieldSelector);
    const told = (entry: Kept<FactsOf[K]>): void => this.#tell(entry);
    this.#informer.on('add', told);
    this.#informer.on('update', told);
    this.#informer.on('delete', (entry) => this.#gone(entry));
    this.#informer.on('error', (error) => this.#failed(error));
  }

  get kind(): K {
    return this.#source.kind;
  }

  get state(): WatchState {
    const missing = this.#missing === undefined ? {} : { missing: this.#missing };
    const known = { plural: this.#source.plural, synced: this.#synced, heardMs: this.#heardMs, trouble: this.#trouble };
    return { ...known, odd: this.#odd.size, ...missing };
  }

  start(): void {
    this.#informer.start().catch((error) => this.#failed(error));
  }

  /** Resolves when everything there was has been told; rejects when it is stopped before. */
  async untilSynced(): Promise<void> {
    await this.#syncing.promise;
  }

  /**
   * What is there now, however far behind the watch is: what it has not brought yet is told already. Nothing to do where the last
   * list was asked for later than `notBeforeMs`. Rejects where the API server cannot be asked.
   */
  async catchUp(notBeforeMs: number): Promise<void> {
    if (this.#listedFromMs >= notBeforeMs) return;
    await this.#eachListed((object) => {
      const { name, namespace, resourceVersion } = metadataOf(object);
      const before = this.#informer.get(name, namespace);
      if (before === undefined || isOlder(before.metadata.resourceVersion, resourceVersion)) {
        this.#tell(this.#entered(object));
      }
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#syncing.reject(NabuError.of('CANCELLED', { operation: `hearing of ${this.#source.plural}` }));
    this.#retry?.cancel();
    await this.#informer.stop();
  }

  /** The library's watch, which asks for bookmarks too, notes when it hears something, and hands on objects cut down. */
  #watch(): Watch {
    const { library, config } = this.#options;
    const heard = (): void => this.#heard();
    const entryOf = (phase: string, object: unknown): unknown => this.#entryOf(phase, object);
    return new (class extends library.Watch {
      override async watch(...[path, query, callback, done]: Parameters<Watch['watch']>): Promise<AbortController> {
        const cut: WatchCallback = (phase, object, event) => {
          heard();
          callback(phase, entryOf(phase, object), event);
        };
        let hasEnded = false;
        const ended = (error: unknown): void => {
          hasEnded = true;
          done(error);
        };
        try {
          const controller = await super.watch(path, { ...query, allowWatchBookmarks: true }, cut, ended);
          if (!hasEnded) heard();
          return controller;
        } catch (error) {
          ended(error); // credentials that cannot be read: the library would leave the rejection to nobody
          return new AbortController();
        }
      }
    })(config);
  }

  #entryOf(phase: string, object: unknown): unknown {
    if (phase === 'ERROR') return object;
    const isThere = phase === 'ADDED' || phase === 'MODIFIED';
    return isThere ? this.#entered(object) : { metadata: metadataOf(object), facts: undefined };
  }

  #entered(object: unknown): Kept<FactsOf[K]> {
    const entry = { metadata: metadataOf(object), facts: this.#read(object) };
    const { name, namespace, uid } = entry.metadata;
    const before = this.#informer.get(name, namespace);
    // Deleted and made again while nobody watched: the informer tells of an update, but it is another one.
    if (before !== undefined && before.metadata.uid !== uid) {
      this.#options.sink.remove(this.#source.kind, this.#keyOf(before));
    }
    return entry;
  }

  /** Page by page; returns the version of the whole. */
  async #eachListed(visit: (object: unknown) => void): Promise<string> {
    const { fieldSelector } = this.#source;
    for (let next = ''; ; ) {
      const which = fieldSelector === undefined ? {} : { fieldSelector };
      const query = { limit: String(PAGE_ITEMS), ...which, ...(next === '' ? {} : { continue: next }) };
      const page = await this.#options.get.get(this.#source.path, query, this.#stopping.signal);
      const meta: unknown = Reflect.get(Object(page), 'metadata');
      const listed: unknown = Reflect.get(Object(page), 'items');
      for (const object of Array.isArray(listed) ? listed : []) visit(object);
      this.#heard();
      next = textOf(meta, 'continue');
      if (next === '') return textOf(meta, 'resourceVersion');
    }
  }

  async #list(): Promise<KubernetesListObject<Kept<FactsOf[K]>>> {
    const items: Kept<FactsOf[K]>[] = [];
    const fromMs = this.#options.clock.monotonicMs();
    const resourceVersion = await this.#eachListed((object) => items.push(this.#entered(object)));
    this.#listedFromMs = fromMs;
    // The informer tells all of them as soon as it has them, before anything else runs.
    this.#options.clock.setTimer(() => this.#listed(), 0);
    return { metadata: { resourceVersion }, items };
  }

  #listed(): void {
    if (!this.#synced) this.#options.logger.info('known', { kind: this.#source.plural });
    this.#synced = true;
    this.#syncing.resolve();
  }

  #read(object: unknown): FactsOf[K] | undefined {
    const { name, namespace } = metadataOf(object);
    const known = `${namespace}/${name}`;
    try {
      const facts = this.#source.read(object);
      this.#odd.delete(known);
      return facts;
    } catch (error) {
      if (this.#odd.has(known)) return undefined;
      if (this.#odd.size < MOST_ODD) this.#odd.add(known);
      const kind = this.#source.plural;
      this.#options.logger.warn('an object cannot be understood', { kind, object: known, error });
      return undefined;
    }
  }

  #gone(entry: Kept<unknown>): void {
    this.#odd.delete(`${entry.metadata.namespace}/${entry.metadata.name}`);
    this.#options.sink.remove(this.#source.kind, this.#keyOf(entry));
  }

  #tell(entry: Kept<FactsOf[K]>): void {
    const { facts } = entry;
    entry.facts = undefined;
    if (facts !== undefined) this.#options.sink.put(this.#source.kind, facts);
  }

  #keyOf({ metadata: { name, namespace, uid } }: Kept<unknown>): string {
    const { keyBy } = this.#source;
    if (keyBy === 'uid') return uid;
    return keyBy === 'name' ? name : `${namespace}/${name}`;
  }

  #heard(): void {
    this.#heardMs = this.#options.clock.monotonicMs();
    this.#trouble = '';
    this.#missing = undefined;
    this.#retryMs = FIRST_RETRY_MS;
  }

  #failed(error: unknown): void {
    if (this.#stopping.signal.aborted) return;
    const missing = this.#source.isOptional === true ? missingBy(error) : undefined;
    if (missing !== undefined) {
      this.#isMissing(missing);
      return;
    }
    this.#trouble = error instanceof Error ? error.message : String(error);
    this.#options.logger.warn('a watch has ended', { kind: this.#source.plural, retryMs: this.#retryMs, error });
    this.#retry?.cancel();
    this.#retry = this.#options.clock.setTimer(() => this.start(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, MOST_RETRY_MS);
  }

  /** All that there is to know of it is known, which is nothing. */
  #isMissing(missing: Missing): void {
    if (this.#missing !== missing)
      this.#options.logger.warn('nothing is heard of a kind', { kind: this.#source.plural, reason: missing });
    this.#heard();
    this.#missing = missing;
    this.#synced = true;
    this.#syncing.resolve();
    this.#retry?.cancel();
    this.#retry = this.#options.clock.setTimer(() => this.start(), MISSING_RETRY_MS);
  }
}
