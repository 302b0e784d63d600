import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { KubeletObserver, ResourceName } from '../kubelet/index.ts';
import type { AllocationSource, MetricSources } from '../metrics/index.ts';
import type { PodHolding, PodResources } from '../pod-resources/index.ts';
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
  readonly sources: MetricSources;
  readonly unready: () => string | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** Counts and serves figures. Its code is loaded only here: a node that nobody scrapes does not hold it in memory. */
export async function serveFigures(
  options: FiguresServerOptions,
): Promise<{ readonly figures: Figures; close(): Promise<void> }> {
  const { DevicePluginMetrics, MetricsServer } = await import('../metrics/index.ts');
  const { formatAddress, parseAddress } = await import('../../common/grpc/index.ts');
  const { address, version, sources, unready, clock, logger } = options;
  const metrics = new DevicePluginMetrics({ version, sources, clock, logger });
  const server = new MetricsServer({ metrics, unready, logger });
  const bound = await server.start(parseAddress(address));
  logger.info('figures are served', { address: formatAddress(bound) });
  return { figures: metrics, close: () => server.close() };
}

/** What pods hold of a domain's resources, for the figures. */
export function allocationsFrom(podResources: Pick<PodResources, 'list'>, domain: string): AllocationSource {
  return {
    async allocations(deadline) {
      const pods = await podResources.list(deadline);
      return pods.flatMap((pod) => allocationsOf(pod, `${domain}/`));
    },
  };
}

function allocationsOf(
  { containers }: PodHolding,
  prefix: string,
): Awaited<ReturnType<AllocationSource['allocations']>> {
  return containers.flatMap(({ namespace, pod, container, devices }) => {
    const units = new Map<string, number>();
    for (const { resource } of devices) {
      if (resource.startsWith(prefix)) units.set(resource, (units.get(resource) ?? 0) + 1);
    }
    return [...units].map(([resource, held]) => ({ namespace, pod, container, resource, units: held }));
  });
}
