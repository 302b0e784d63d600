export { AdmissionMetrics } from './admission-metrics.ts';
export { type ParsedRequest, type PodJudge, type PodReview, parsedAs, type ReviewOutcome } from './admission-review.ts';
export { AdmissionServer, type AdmissionServerOptions, MUTATE_PATH } from './admission-server.ts';
export { type AddOperation, pointer } from './json-patch.ts';
export { TlsFiles, type TlsPair } from './tls-files.ts';
