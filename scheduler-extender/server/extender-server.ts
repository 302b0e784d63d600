import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { NabuError, toNabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import type { Extender, FilterCounts } from '../decide/index.ts';
import { filterError } from '../wire/index.ts';
import type { ExtenderMetrics, Verb } from './extender-metrics.ts';
import { addHealth } from './health-routes.ts';
import { type BodyLimits, BodyReader, type WholeBody } from './request-body.ts';
import { readTls, type TlsFiles, tlsStamp } from './tls-files.ts';

export type ServerLimits = BodyLimits & {
  /** After this a scheduler has given up: an answer would only cost. */
  readonly answerWithinMs: number;
  readonly connections: number;
};

export type ExtenderServerOptions = {
  readonly extender: Pick<Extender, 'filter' | 'prioritize' | 'prepare' | 'preempt' | 'explain'>;
  readonly metrics: ExtenderMetrics;
  /** Why nothing is answered (no leader, or what is known is not complete), or undefined. */
  readonly refuses: () => string | undefined;
  /** What /readyz says: the same, and what is old by now. */
  readonly unready: () => string | undefined;
  readonly limits: ServerLimits;
  /** Undefined: plain HTTP. */
  readonly tls: TlsFiles | undefined;
  /** Common names of clients that may ask; empty: whoever the authority has signed. */
  readonly clientNames: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
};

const HEADER_LIMIT_BYTES = 16 << 10;
const HEADERS_TIMEOUT_MS = 5000;
/** Longer than Go keeps an idle connection (90 s), so that it is never we who close one that is about to be used. */
const KEEP_ALIVE_MS = 120_000;
const CHECK_CONNECTIONS_MS = 1000;
const CHECK_TLS_MS = 30_000;
const JSON_TYPE = 'application/json; charset=utf-8';

type Answer = { readonly body: Buffer | string; readonly result: string };

/** More than one candidate, and none refused: the same list comes back for its order. */
function isOrderedNext({ candidates, passed }: FilterCounts): boolean {
  return candidates > 1 && passed === candidates;
}

/** extender v1 over HTTP, with health, readiness and metrics beside it. */
export class ExtenderServer {
  readonly #options: ExtenderServerOptions;
  readonly #bodies: BodyReader;
  #app: FastifyInstance | undefined;
  #tlsTimer: Timer | undefined;
  #tlsStamp = '';

  constructor(options: ExtenderServerOptions) {
    this.#options = options;
    this.#bodies = new BodyReader(options.clock, options.limits);
  }

  /** Resolves with where it listens. Throws UNAVAILABLE, FILE_INVALID. */
  async start(address: { readonly host: string; readonly port: number }): Promise<{ host: string; port: number }> {
    const { tls, limits } = this.#options;
    const http = {
      maxHeaderSize: HEADER_LIMIT_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_CONNECTIONS_MS,
    };
    const common = { logger: false, keepAliveTimeout: KEEP_ALIVE_MS, bodyLimit: limits.bodyBytes } as const;
    let app: FastifyInstance;
    if (tls === undefined) app = Fastify({ ...common, http });
    else {
      this.#tlsStamp = await tlsStamp(tls);
      const needsClient = tls.clientCaFile !== '';
      const secure = { ...(await readTls(tls)), requestCert: needsClient, rejectUnauthorized: needsClient };
      app = Fastify({ ...common, https: { ...http, ...secure } }) as unknown as FastifyInstance;
      this.#watchTls(tls);
    }
    this.#app = app;
    app.server.maxConnections = limits.connections;
    this.#addRoutes(app);
    try {
      await app.listen(address);
    } catch (err) {
      this.#tlsTimer?.cancel();
      const reason = err instanceof Error ? err.message : String(err);
      throw NabuError.of('UNAVAILABLE', { target: `${address.host}:${address.port}`, reason }, { cause: err });
    }
    const bound = app.server.address();
    return bound === null || typeof bound === 'string' ? address : { host: bound.address, port: bound.port };
  }

  /** Answers what is under way, then ends. */
  async close(): Promise<void> {
    this.#tlsTimer?.cancel();
    this.#tlsTimer = undefined;
    const closed = this.#app?.close();
    this.#app?.server.closeIdleConnections();
    await closed;
  }

  #addRoutes(app: FastifyInstance): void {
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('application/json', async (_: FastifyRequest, payload: IncomingMessage) => {
      return await this.#bodies.read(payload);
    });
    app.setErrorHandler((err, _, reply) => this.#sendError(reply, this.#toError(err)));
    app.setNotFoundHandler((request, reply) => {
      const reason = 'there are POST /filter, /prioritize, /preempt and GET /healthz, /readyz, /metrics';
      return this.#sendError(reply, NabuError.of('UNIMPLEMENTED', { operation: request.method, reason }));
    });
    for (const verb of ['filter', 'prioritize', 'preempt'] as const) {
      app.post(`/${verb}`, (request, reply) => this.#answer(verb, request, reply));
    }
    addHealth(app, this.#options.unready, this.#options.metrics);
  }

  #answer(verb: Verb, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const body = request.body as WholeBody | undefined;
    const startedMs = body?.sinceMs ?? this.#options.clock.monotonicMs();
    let result = 'ok';
    try {
      if (body === undefined) throw NabuError.of('INVALID_ARGUMENT', { field: 'body', reason: 'is missing' });
      this.#check(request, startedMs);
      const answer = this.#decide(verb, body, isExplained(request));
      result = answer.result;
      return reply.type(JSON_TYPE).send(answer.body);
    } catch (err) {
      const error = this.#toError(err);
      result = error.code;
      // Filter has a place for a sentence that people see as an event of the pod; the others have the status alone.
      const isForPeople = verb === 'filter' && (error.code === 'UNAVAILABLE' || error.code === 'FAILED_PRECONDITION');
      return isForPeople ? reply.type(JSON_TYPE).send(filterError(error.message)) : this.#sendError(reply, error);
    } finally {
      if (body !== undefined) this.#bodies.release(body);
      this.#options.metrics.answered(verb, result, this.#options.clock.monotonicMs() - startedMs);
    }
  }

  #decide(verb: Verb, { bytes }: WholeBody, explained: boolean): Answer {
    const { extender, metrics } = this.#options;
    if (explained && verb !== 'preempt') return { body: JSON.stringify(extender.explain(bytes)), result: 'ok' };
    if (verb === 'prioritize') return { body: extender.prioritize(bytes), result: 'ok' };
    if (verb === 'preempt') return { body: extender.preempt(bytes), result: 'ok' };
    const { answer, counts } = extender.filter(bytes);
    metrics.filtered(counts);
    // Once the answer is on its way: the scheduler takes longer to read it than the order takes to be found.
    if (isOrderedNext(counts)) setImmediate(() => extender.prepare(bytes));
    return { body: answer, result: 'ok' };
  }

  #check(request: FastifyRequest, startedMs: number): void {
    const { clientNames, limits, clock } = this.#options;
    if (clientNames.length > 0) {
      const name = (request.raw.socket as TLSSocket).getPeerCertificate?.()?.subject?.CN;
      if (typeof name !== 'string' || !clientNames.includes(name)) {
        const reason = 'the common name of its certificate is not one that may ask';
        throw NabuError.of('PERMISSION_DENIED', { operation: 'this client', reason });
      }
    }
    if (clock.monotonicMs() - startedMs > limits.answerWithinMs) {
      throw NabuError.of('TIMEOUT', { operation: 'the request', timeoutMs: limits.answerWithinMs });
    }
    const reason = this.#options.refuses();
    if (reason !== undefined) throw NabuError.of('UNAVAILABLE', { target: 'the NabuStore extender', reason });
  }

  #toError(err: unknown): NabuError {
    const status: unknown = Reflect.get(Object(err), 'statusCode');
    if (!NabuError.is(err) && typeof status === 'number' && status >= 400 && status < 500) {
      const reason = status === 415 ? 'is not application/json' : 'cannot be understood';
      return NabuError.of('INVALID_ARGUMENT', { field: 'request', reason }, { cause: err });
    }
    return toNabuError(err, (correlationId, error) => {
      this.#options.logger.error('a request was not answered', { correlationId, error });
    });
  }

  #sendError(reply: FastifyReply, error: NabuError): FastifyReply {
    // What is left of a body that was not read would be taken for the next request.
    if (!reply.request.raw.readableEnded) void reply.header('connection', 'close');
    return reply.code(error.entry.http).type(JSON_TYPE).send(JSON.stringify(error));
  }

  #watchTls(tls: TlsFiles): void {
    this.#tlsTimer = this.#options.clock.setTimer(() => void this.#renewTls(tls), CHECK_TLS_MS, { background: true });
  }

  /** New files are for new connections; files that are half replaced, or gone, change nothing yet. */
  async #renewTls(tls: TlsFiles): Promise<void> {
    try {
      const stamp = await tlsStamp(tls);
      const server: unknown = this.#app?.server;
      if (stamp !== this.#tlsStamp && canRenew(server)) {
        server.setSecureContext(await readTls(tls));
        this.#tlsStamp = stamp;
        this.#options.logger.info('the certificate was replaced', { path: tls.certFile });
      }
    } catch (error) {
      this.#options.logger.warn('the certificate cannot be replaced, the old one stays', { path: tls.certFile, error });
    }
    if (this.#tlsTimer !== undefined) this.#watchTls(tls);
  }
}

function canRenew(server: unknown): server is { setSecureContext(options: unknown): void } {
  return typeof Reflect.get(Object(server), 'setSecureContext') === 'function';
}

function isExplained(request: FastifyRequest): boolean {
  const { query } = request;
  return typeof query === 'object' && query !== null && Object.hasOwn(query, 'explain');
}
