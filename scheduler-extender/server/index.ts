export { ExtenderMetrics, type Verb } from './extender-metrics.ts';
export { ExtenderServer, type ExtenderServerOptions, type ServerLimits } from './extender-server.ts';
export { HealthServer } from './health-server.ts';
export type { BodyLimits } from './request-body.ts';
export type { TlsFiles } from './tls-files.ts';
