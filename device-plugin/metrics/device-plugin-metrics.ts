import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { HugePages } from '../discovery/index.ts';
import type { CallOutcome, DevicePool, KubeletObserver, ResourceName } from '../kubelet/index.ts';
import type { CauseCode } from '../resources/index.ts';
import { type AllocationSource, Allocations, type KnownAllocations } from './allocations.ts';
import { BoundedNames } from './bounded-names.ts';
import { pageSizeText } from './page-size.ts';
import { addProcessFigures } from './process-figures.ts';

export type MetricSources = {
  /** Every resource that is advertised now. Read when somebody asks for the figures. */
  pools(): Iterable<Pick<DevicePool, 'resource' | 'devices'>>;
  /** Whether a kubelet holds the list of the resource. */
  isRegistered(resource: ResourceName): boolean;
  hugePages(): readonly HugePages[];
  /** Left out where there is no pod-resources API to ask. */
  readonly allocations?: AllocationSource;
};

/** One figure, for the reference. */
export type MetricDescription = {
  readonly name: string;
  readonly type: 'gauge' | 'counter' | 'histogram';
  readonly labels: readonly string[];
  readonly help: string;
};

export type DevicePluginMetricsOptions = {
  readonly version: string;
  readonly sources: MetricSources;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** A configuration file has some ten resources; a reload can bring others, for the life of the process. */
const RESOURCE_LIMIT = 64;
/** Rows of allocations: containers times resources. A node has 110 pods by default, few of them with HCAs. */
const ALLOCATION_LIMIT = 1000;
/** Seconds. A grant takes some 100 us, one that asks the pod-resources API some ms; the kubelet gives up after 10 s. */
const LATENCY_BUCKETS_S = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5, 10];
const HOLDER_LABELS = ['namespace', 'pod', 'container', 'resource'] as const;
const PREFIX = 'nabustore_device_plugin_';

/**
 * The figures of one device plugin. What happens is told to it and costs a microsecond; what is, it looks up when it is
 * asked. Values of labels come from closed lists or are bounded: no figure grows with what pods or machines are called,
 * except those of allocations, of which there are at most 1,000.
 */
export class DevicePluginMetrics implements KubeletObserver {
  readonly #registry = new Registry();
  readonly #described: MetricDescription[] = [];
  readonly #sources: MetricSources;
  readonly #clock: Clock;
  readonly #allocations: Allocations | undefined;
  readonly #resources = new BoundedNames(RESOURCE_LIMIT);
  readonly #latency: Histogram<'resource' | 'result'>;
  readonly #registrations: Counter<'resource' | 'result'>;
  readonly #healthChanges: Counter<'resource' | 'state' | 'cause'>;
  readonly #reloads: Counter<'result'>;
  readonly #reloadedAt: Gauge;
  readonly #reloadOk: Gauge;
  readonly #held: Gauge<(typeof HOLDER_LABELS)[number]>;
  readonly #heldAge: Gauge;
  readonly #heldLeftOut: Gauge;

  constructor({ version, sources, clock, logger }: DevicePluginMetricsOptions) {
    this.#sources = sources;
    this.#clock = clock;
    this.#latency = this.#histogram('allocate_duration_seconds', 'Time an Allocate call of the kubelet took.', [
      'resource',
      'result',
    ]);
    this.#registrations = this.#counter('registrations_total', 'Registrations with the kubelet, by how they ended.', [
      'resource',
      'result',
    ]);
    this.#healthChanges = this.#counter('health_changes_total', 'Devices that changed their state, and why.', [
      'resource',
      'state',
      'cause',
    ]);
    this.#reloads = this.#counter('config_reloads_total', 'Times the configuration was read.', ['result']);
    for (const result of ['ok', 'refused']) this.#reloads.inc({ result }, 0);
    this.#reloadedAt = this.#gauge('config_last_reload_success_timestamp_seconds', 'When it was last taken.');
    this.#reloadOk = this.#gauge('config_last_reload_successful', 'Whether the file as it lies there is in force.');
    const refreshes = this.#counter('allocations_refreshes_total', 'Answers of the pod-resources API.', ['result']);
    for (const result of ['ok', 'failed']) refreshes.inc({ result }, 0);
    this.#held = this.#gauge('allocations', 'Units that a container of a pod holds.', HOLDER_LABELS);
    this.#heldAge = this.#gauge('allocations_age_seconds', 'How old what is said of allocations is.');
    this.#heldLeftOut = this.#gauge('allocations_left_out', `Allocations beyond the first ${ALLOCATION_LIMIT}.`);
    const { allocations: source } = sources;
    const onRefresh = (result: string): void => refreshes.inc({ result });
    this.#allocations = source === undefined ? undefined : new Allocations({ source, clock, logger, onRefresh });
    this.#addDevices();
    this.#addHugePages();
    this.#gauge('build_info', 'The version of the plugin.', ['version']).set({ version }, 1);
    addProcessFigures(this.#registry);
  }

  /** Its own figures, without those of every process. */
  get described(): readonly MetricDescription[] {
    return this.#described;
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Prometheus text exposition format 0.0.4. At most half a second late for a kubelet that does not answer. */
  async exposition(): Promise<string> {
    this.#showAllocations(await this.#allocations?.newest());
    return await this.#registry.metrics();
  }

  allocated(resource: ResourceName, latencyMs: number, outcome: CallOutcome): void {
    this.#latency.observe({ resource: this.#resources.of(resource), result: outcome }, latencyMs / 1000);
  }

  registered(resource: ResourceName, outcome: CallOutcome): void {
    this.#registrations.inc({ resource: this.#resources.of(resource), result: outcome });
  }

  /** `cause` is the first against a device that turned unhealthy; undefined for one that is well again. */
  healthChanged(resource: ResourceName, cause: CauseCode | undefined): void {
    const state = cause === undefined ? 'healthy' : 'unhealthy';
    this.#healthChanges.inc({ resource: this.#resources.of(resource), state, cause: cause ?? 'recovered' });
  }

  /** The configuration file was read, at the start too; refused: the one before stays in force. */
  reloaded(outcome: CallOutcome): void {
    this.#reloads.inc({ result: outcome });
    this.#reloadOk.set(outcome === 'ok' ? 1 : 0);
    if (outcome === 'ok') this.#reloadedAt.set(this.#clock.nowMs() / 1000);
  }

  #addDevices(): void {
    const sources = this.#sources;
    const resources = this.#resources;
    this.#gauge('devices', 'Units of a resource, by state.', ['resource', 'state'], (gauge) => {
      gauge.reset();
      for (const pool of sources.pools()) {
        const resource = resources.of(pool.resource);
        const devices = pool.devices();
        const healthy = devices.filter((device) => device.healthy).length;
        gauge.inc({ resource, state: 'healthy' }, healthy);
        gauge.inc({ resource, state: 'unhealthy' }, devices.length - healthy);
      }
    });
    this.#gauge('registered', 'Whether the kubelet holds the list of the resource.', ['resource'], (gauge) => {
      gauge.reset();
      for (const { resource } of sources.pools()) {
        gauge.set({ resource: resources.of(resource) }, sources.isRegistered(resource) ? 1 : 0);
      }
    });
  }

  #addHugePages(): void {
    for (const part of ['free', 'total'] as const) {
      const name = `huge_pages_${part}`;
      const help = `Huge pages of one size on a NUMA node${part === 'free' ? ' that nobody has' : ''}.`;
      this.#gauge(name, help, ['numa_node', 'page_size'], (gauge) => {
        gauge.reset();
        for (const { sizeBytes, perNode } of this.#sources.hugePages()) {
          for (const { numaNode, [part]: pages } of perNode) {
            // What cannot be read is not there: a zero would be an alarm.
            if (pages !== null) gauge.set({ numa_node: numaNode, page_size: pageSizeText(sizeBytes) }, pages);
          }
        }
      });
    }
  }

  #showAllocations(known: KnownAllocations | undefined): void {
    const rows = known?.allocations ?? [];
    this.#held.reset();
    for (const { namespace, pod, container, resource, units } of rows.slice(0, ALLOCATION_LIMIT)) {
      this.#held.inc({ namespace, pod, container, resource }, units);
    }
    this.#heldLeftOut.set(Math.max(0, rows.length - ALLOCATION_LIMIT));
    if (known === undefined) this.#heldAge.remove();
    else this.#heldAge.set((this.#clock.monotonicMs() - known.atMs) / 1000);
  }

  #gauge<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[] = [],
    collect?: (gauge: Gauge<L>) => void,
  ): Gauge<L> {
    return new Gauge<L>({
      registers: [this.#registry],
      name: this.#describe('gauge', name, help, labelNames),
      help,
      labelNames,
      ...(collect === undefined
        ? {}
        : {
            collect() {
              return collect(this);
            },
          }),
    });
  }

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    const fullName = this.#describe('counter', name, help, labelNames);
    return new Counter<L>({ registers: [this.#registry], name: fullName, help, labelNames });
  }

  #histogram<L extends string>(name: string, help: string, labelNames: readonly L[]): Histogram<L> {
    const registers = [this.#registry];
    const fullName = this.#describe('histogram', name, help, labelNames);
    return new Histogram<L>({ registers, name: fullName, help, labelNames, buckets: LATENCY_BUCKETS_S });
  }

  #describe(type: MetricDescription['type'], name: string, help: string, labels: readonly string[]): string {
    this.#described.push({ name: PREFIX + name, type, labels, help });
    return PREFIX + name;
  }
}
