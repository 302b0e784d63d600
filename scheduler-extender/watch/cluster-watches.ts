import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { ClusterSink } from '../cluster/index.ts';
import type { PlaceLabels } from '../kube/index.ts';
import { kubeConfigOf } from '../kube-access/index.ts';
import { FreshReports } from './fresh-reports.ts';
import { KindWatch, type WatchState } from './kind-watch.ts';
import { KubeGet } from './kube-get.ts';
import { kindSources, WATCHED, type WatchedKind } from './watched-kinds.ts';

export type ClusterWatchesOptions = {
  /** A path; '' as the pod that this process runs in. */
  readonly kubeconfig: string;
  readonly labels: PlaceLabels;
  readonly sink: ClusterSink;
  /** After so long without a word from the API server what is known counts as old. */
  readonly staleMs: number;
  /** Others that tell the index something, and whose word is waited for as that of the API server is. */
  readonly further: readonly Source[];
  readonly clock: Clock;
  readonly logger: Logger;
};

/** Somebody who tells the index things. */
export type Source = {
  readonly state: WatchState;
  start(): void;
  stop(): Promise<void>;
  /** Tells what is there now, unless it has looked since. */
  catchUp(notBeforeMs: number): Promise<void>;
};

type KindSourceWatch = Source & { readonly kind: WatchedKind; untilSynced(): Promise<void> };

/** All that the API server tells the index, and how far that is to be believed. */
export class ClusterWatches {
  readonly #kinds: readonly KindSourceWatch[];
  readonly #further: readonly Source[];
  readonly #reports: FreshReports;
  readonly #get: KubeGet;
  readonly #options: Pick<ClusterWatchesOptions, 'staleMs' | 'clock'>;

  private constructor(
    kinds: readonly KindSourceWatch[],
    reports: FreshReports,
    get: KubeGet,
    options: ClusterWatchesOptions,
  ) {
    this.#kinds = kinds;
    this.#reports = reports;
    this.#further = options.further;
    this.#get = get;
    this.#options = options;
  }

  /** Loads the client library, which takes its memory only where there is a cluster to watch. Throws CONFIG_INVALID. */
  static async start(options: ClusterWatchesOptions): Promise<ClusterWatches> {
    const library = await import('@kubernetes/client-node');
    const config = kubeConfigOf(library, options.kubeconfig);
    const get = new KubeGet(config);
    const sources = kindSources(options.labels);
    const { sink, clock, logger } = options;
    const parts = { library, config, get, sink, clock, logger };
    const reports = new FreshReports({ sink, clock, logger });
    const kinds = WATCHED.map((kind): KindSourceWatch => {
      return kind === 'report'
        ? new KindWatch(sources.report, { ...parts, sink: reports })
        : new KindWatch(sources[kind], parts);
    });
    for (const source of [...kinds, ...options.further]) source.start();
    return new ClusterWatches(kinds, reports, get, options);
  }

  /** What nodes report of themselves: how many are believed, too old, or one too many. */
  get reports(): FreshReports['counts'] {
    return this.#reports.counts;
  }

  get states(): readonly WatchState[] {
    return this.#all.map(({ state }) => state);
  }

  /** Why what is known is no ground to answer on, or undefined. */
  incomplete(): string | undefined {
    const missing = this.#all.filter(({ state }) => !state.synced).map(({ state }) => state.plural);
    return missing.length === 0 ? undefined : `it has not heard of all ${missing.join(', ')} yet${this.#trouble()}`;
  }

  /** Why somebody should look after it: what is known is incomplete, or old. */
  unready(): string | undefined {
    const stale = this.#stale();
    const old = stale.length === 0 ? undefined : `it has heard nothing of ${stale.join(', ')}${this.#trouble()}`;
    return this.incomplete() ?? old;
  }

  /** The end of a sentence about what is known; '' while all is fresh. */
  staleness(): string {
    const stale = this.#stale();
    return stale.length === 0 ? '' : ` (nothing was heard of ${stale.join(', ')})`;
  }

  /**
   * Resolves when all is known, and of what decides about capacity (claims, and what control keeps) everything that is there now:
   * the watches may lag behind.
   */
  async catchUp(notBeforeMs: number): Promise<void> {
    await Promise.all(this.#kinds.map((watch) => watch.untilSynced()));
    const deciding = [...this.#kinds.filter(({ kind }) => kind === 'claim'), ...this.#further];
    await Promise.all(deciding.map((source) => source.catchUp(notBeforeMs)));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#all.map((watch) => watch.stop()));
    this.#reports.stop();
    this.#get.close();
  }

  get #all(): readonly Source[] {
    return [...this.#kinds, ...this.#further];
  }

  #stale(): string[] {
    const nowMs = this.#options.clock.monotonicMs();
    return this.#all.flatMap(({ state: { plural, heardMs, missing } }) => {
      const silentMs = missing === undefined ? nowMs - (heardMs ?? nowMs) : 0;
      return silentMs > this.#options.staleMs ? [`${plural} for ${Math.round(silentMs / 1000)} s`] : [];
    });
  }

  #trouble(): string {
    const trouble = this.#all.map(({ state }) => state.trouble).find((text) => text !== '');
    return trouble === undefined ? '' : ` (${trouble})`;
  }
}
