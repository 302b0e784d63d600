import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ClusterIndex } from '../cluster/index.ts';
import type { FilterCounts } from '../decide/index.ts';
import type { Reservations } from '../reservations/index.ts';

export type Verb = 'filter' | 'prioritize' | 'preempt';

/** In seconds: a scheduler gives us 500 ms. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

export type MetricsOptions = {
  readonly index: ClusterIndex;
  readonly reservations: Reservations;
  /** Why nothing is answered, or undefined. */
  readonly unready: () => string | undefined;
  /** How what is watched is doing; undefined: nothing is watched. */
  readonly watched?: WatchFigures;
};

export type WatchFigures = {
  readonly states: readonly { readonly plural: string; readonly missing?: string; readonly odd?: number }[];
  /** Reports of nodes by how far they are believed. */
  readonly reports: Readonly<Record<string, number>>;
};

/** What Prometheus sees of an extender. */
export class ExtenderMetrics {
  readonly registry = new Registry();
  readonly #seconds: Histogram<'verb' | 'result'>;
  readonly #candidates: Counter<'verdict'>;
  readonly #wakes: Counter<'result'>;

  constructor({ index, reservations, unready, watched }: MetricsOptions) {
    const registers = [this.registry];
    this.#seconds = new Histogram({
      registers,
      name: 'nabu_extender_request_seconds',
      help: 'From the headers of a request to its answer, by what came of it: ok, or the code of the error.',
      labelNames: ['verb', 'result'],
      buckets: BUCKETS,
    });
    this.#candidates = new Counter({
      registers,
      name: 'nabu_extender_candidates_total',
      help: 'Nodes that filter was asked about, by whether they passed.',
      labelNames: ['verdict'],
    });
    this.#wakes = new Counter({
      registers,
      name: 'nabu_extender_wakes_total',
      help: 'Times that schedulers were made to ask again about pods refused for capacity that has come back: done, or failed.',
      labelNames: ['result'],
    });
    for (const result of ['done', 'failed'] as const) this.#wakes.inc({ result }, 0);
    const gauge = (name: string, help: string, value: () => number): void => {
      new Gauge({
        registers,
        name,
        help,
        collect() {
          this.set(value());
        },
      });
    };
    new Gauge({
      registers,
      name: 'nabu_extender_known',
      help: 'Objects that are known, by kind.',
      labelNames: ['kind'],
      collect() {
        for (const [kind, count] of Object.entries(knownCounts(index))) this.set({ kind }, count);
      },
    });
    new Gauge({
      registers,
      name: 'nabu_extender_reservations',
      help: 'Claims whose capacity is reserved, by stage: promised, provisioning, settling.',
      labelNames: ['stage'],
      collect() {
        for (const [stage, count] of Object.entries(reservations.counts)) this.set({ stage }, count);
      },
    });
    if (watched !== undefined) addWatchFigures(registers, watched);
    gauge('nabu_extender_reserved_bytes', 'Raw bytes that are reserved and shown by no volume record yet.', () =>
      reservations.heldBytes([]),
    );
    gauge('nabu_extender_ready', '1 where it answers, 0 where it refuses.', () => (unready() === undefined ? 1 : 0));
    gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', () => process.memoryUsage.rss());
    gauge('process_cpu_seconds_total', 'User and system CPU time spent in seconds.', () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
  }

  answered(verb: Verb, result: string, ms: number): void {
    this.#seconds.observe({ verb, result }, ms / 1000);
  }

  filtered({ candidates, passed }: FilterCounts): void {
    this.#candidates.inc({ verdict: 'passed' }, passed);
    this.#candidates.inc({ verdict: 'refused' }, candidates - passed);
  }

  woke(result: 'done' | 'failed'): void {
    this.#wakes.inc({ result });
  }
}

function addWatchFigures(registers: Registry[], watched: WatchFigures): void {
  const gauge = (name: string, help: string, label: string, values: () => Iterable<[string, number]>): void => {
    new Gauge({
      registers,
      name,
      help,
      labelNames: [label],
      collect() {
        this.reset();
        for (const [is, value] of values()) this.set({ [label]: is }, value);
      },
    });
  };
  gauge('nabu_extender_reports', 'Locality reports, by whether they are believed, too old, or too many.', 'state', () =>
    Object.entries(watched.reports),
  );
  gauge('nabu_extender_watch_missing', 'Kinds that the cluster does not have, or does not let us read.', 'kind', () =>
    watched.states.flatMap(({ plural, missing }): [string, number][] => (missing === undefined ? [] : [[plural, 1]])),
  );
  gauge('nabu_extender_odd_objects', 'Objects that cannot be understood: what was known of them stays.', 'kind', () =>
    watched.states.map(({ plural, odd = 0 }): [string, number] => [plural, odd]),
  );
}

function knownCounts({
  nodes,
  pods,
  claims,
  classes,
  capacities,
  storage,
  localities,
}: ClusterIndex): Record<string, number> {
  const { storageNodes, records, contents } = storage.counts;
  return {
    nodes: nodes.count,
    pods: pods.count,
    claims: claims.count,
    'storage-classes': classes.count,
    'storage-capacities': capacities.count,
    'storage-nodes': storageNodes,
    'volume-records': records,
    contents,
    'reported-contents': localities.counts.contents,
  };
}
