import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { KubeletObserver, ResourceName } from '../kubelet/index.ts';
import type { MetricSources } from '../metrics/index.ts';
import type { PodResources } from '../pod-resources/index.ts';
import type { CauseCode } from '../resources/index.ts';

/** What happens, told to whoever counts it. */
export type Figures = KubeletObserver & {
  healthChanged(resource: ResourceName, cause: CauseCode | undefined): void;
  reloaded(outcome: 'ok' | 'refused'): void;
};

export const NO_FIGURES: Figures = {
  allocated: () => undefined,
  registered: () => undefined,
  healthChanged: () => undefined,
  reloaded: () => undefined,
};

export type FiguresServerOptions = {
  /** HOST:PORT or unix:PATH. */
  readonly address: string;
  readonly version: string;
  readonly sources: Omit<MetricSources, 'allocations'>;
  readonly podResources: Pick<PodResources, 'list'>;
  readonly unready: () => string | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** Counts and serves figures. Its code is loaded only here: a node that nobody scrapes does not hold it in memory. */
export async function serveFigures(
  options: FiguresServerOptions,
): Promise<{ readonly figures: Figures; close(): Promise<void> }> {
  const { allocationsOf, DevicePluginMetrics, MetricsServer } = await import('../metrics/index.ts');
  const { formatAddress, parseAddress } = await import('../../common/grpc/index.ts');
  const { address, version, unready, clock, logger } = options;
  const sources = { ...options.sources, allocations: allocationsOf(options.podResources) };
  const metrics = new DevicePluginMetrics({ version, sources, clock, logger });
  const server = new MetricsServer({ metrics, unready, logger });
  const bound = await server.start(parseAddress(address));
  logger.info('figures are served', { address: formatAddress(bound) });
  return { figures: metrics, close: () => server.close() };
}
