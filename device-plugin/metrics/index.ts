export type { Allocation, AllocationSource } from './allocations.ts';
export { DevicePluginMetrics, type DevicePluginMetricsOptions, type MetricSources } from './device-plugin-metrics.ts';
export { MetricsServer, type MetricsServerOptions } from './metrics-server.ts';
export { allocationsOf, podAllocations } from './pod-allocations.ts';
