import type { Server } from 'node:https';
import { NabuError, toNabuError } from '../errors/index.ts';
import type { SocketAddress } from '../grpc/index.ts';
import type { Logger } from '../logging/index.ts';
import type { Clock } from '../ports/index.ts';
import type { AdmissionMetrics } from './admission-metrics.ts';
import { answerReview, type PodJudge } from './admission-review.ts';
import type { TlsPair } from './tls-files.ts';

export type AdmissionServerOptions = {
  readonly tls: TlsPair;
  /** Asked once for each new pod. */
  readonly judge: PodJudge;
  readonly metrics: AdmissionMetrics;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** The API server takes objects of 3 MiB (apiserver, MaxRequestBodyBytes), and a review holds two at most. */
const BODY_LIMIT_BYTES = 8 << 20;
const CONNECTION_LIMIT = 256;
/** The longest that a webhook may be given (admissionregistration/v1, timeoutSeconds). */
const REQUEST_TIMEOUT_MS = 30_000;
const HEADERS_TIMEOUT_MS = 5000;
/** The API server keeps connections, and closes those that are idle for 90 s. */
const KEEP_ALIVE_MS = 120_000;

/** Where the API server sends pods, as the webhook configuration in the chart has it. */
export const MUTATE_PATH = '/mutate-pods';

/** Mutating admission of pods over HTTPS (Kubernetes, "Dynamic Admission Control"). */
export class AdmissionServer {
  readonly #server: Server;
  readonly #close: () => Promise<void>;

  private constructor(server: Server, close: () => Promise<void>) {
    this.#server = server;
    this.#close = close;
  }

  /** Loads the framework, which no other binary pays for. */
  static async create({ tls, judge, metrics, clock, logger }: AdmissionServerOptions): Promise<AdmissionServer> {
    const { fastify } = await import('fastify');
    const app = fastify({
      https: { ...tls, minVersion: 'TLSv1.2', headersTimeout: HEADERS_TIMEOUT_MS },
      bodyLimit: BODY_LIMIT_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      forceCloseConnections: true,
    });
    app.server.maxConnections = CONNECTION_LIMIT;
    app.post(MUTATE_PATH, async (request) => {
      const startedMs = clock.monotonicMs();
      let outcome: Parameters<AdmissionMetrics['reviewed']>[0] = 'invalid';
      try {
        const reviewed = answerReview(request.body, judge);
        outcome = reviewed.outcome;
        return reviewed.answer;
      } finally {
        metrics.reviewed(outcome, clock.monotonicMs() - startedMs);
      }
    });
    for (const path of ['/healthz', '/readyz']) app.get(path, async () => 'ok\n');
    app.setErrorHandler((err, _request, reply) => {
      const known = fromFastify(err) ?? err;
      const error = toNabuError(known, (correlationId, cause) => {
        logger.error('a review was not answered', { correlationId, error: cause });
      });
      return reply.code(error.entry.http).send({ error: error.toJSON() });
    });
    await app.ready();
    return new AdmissionServer(app.server, () => app.close());
  }

  /** Resolves with where it listens. Throws UNAVAILABLE that says why it cannot. */
  async start({ host, port }: Extract<SocketAddress, { kind: 'tcp' }>): Promise<SocketAddress> {
    const server = this.#server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (err) =>
        reject(NabuError.of('UNAVAILABLE', { target: `${host}:${port}`, reason: err.message }, { cause: err })),
      );
      server.listen({ host, port }, resolve);
    });
    const bound = server.address();
    return { kind: 'tcp', host, port: bound === null || typeof bound === 'string' ? port : bound.port };
  }

  /** For connections from here on. */
  useTls(pair: TlsPair): void {
    this.#server.setSecureContext(pair);
  }

  /** Ends connections too. */
  async close(): Promise<void> {
    await this.#close();
  }
}

/** What the framework refuses before we see it. Its own words are about the request alone. */
function fromFastify(err: unknown): NabuError | undefined {
  const statusCode: unknown = Reflect.get(Object(err), 'statusCode');
  if (NabuError.is(err) || typeof statusCode !== 'number' || statusCode < 400 || statusCode > 499) return undefined;
  if (statusCode === 413) {
    const sizeBytes = `more than ${BODY_LIMIT_BYTES}`; // it was not read to its end
    return NabuError.of('MESSAGE_TOO_LARGE', { sizeBytes, limitBytes: BODY_LIMIT_BYTES }, { cause: err });
  }
  const reason = err instanceof Error ? err.message : 'refused';
  return NabuError.of('INVALID_ARGUMENT', { field: 'request', reason }, { cause: err });
}
