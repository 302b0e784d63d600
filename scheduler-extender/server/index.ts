export { ExtenderMetrics, type Verb } from './extender-metrics.ts';
export { addHealth, ExtenderServer, type ExtenderServerOptions, type ServerLimits } from './extender-server.ts';
export type { BodyLimits } from './request-body.ts';
export type { TlsFiles } from './tls-files.ts';
