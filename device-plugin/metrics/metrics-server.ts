import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { NabuError, toNabuError } from '../../common/errors/index.ts';
import type { SocketAddress } from '../../common/grpc/index.ts';
import type { Logger } from '../../common/logging/index.ts';

export type MetricsServerOptions = {
  readonly metrics: { readonly contentType: string; exposition(): Promise<string> };
  /** Why the process is of no use yet, or undefined when it is. */
  readonly unready: () => string | undefined;
  readonly logger: Logger;
};

type Answer = { readonly status: number; readonly type: string; readonly body: string };

const CONNECTION_LIMIT = 64;
const HEADER_LIMIT_BYTES = 8 << 10;
const REQUEST_TIMEOUT_MS = 5000;
/** A scraper asks every 15 to 60 s: nobody gains from a connection kept for it. */
const KEEP_ALIVE_MS = 5000;
const PLAIN = 'text/plain; charset=utf-8';

const plain = (status: number, text: string): Answer => ({ status, type: PLAIN, body: `${text}\n` });

/**
 * /metrics for Prometheus, /healthz and /readyz for a kubelet's probes, over HTTP/1.1 without a framework (which costs some
 * MiB that each node would pay). Requests have no body, connections and headers are bounded, and scrapes at one time share
 * one look.
 */
export class MetricsServer {
  readonly #options: MetricsServerOptions;
  readonly #server: Server;
  #scrape: Promise<Answer> | undefined;

  constructor(options: MetricsServerOptions) {
    this.#options = options;
    this.#server = createServer(
      {
        maxHeaderSize: HEADER_LIMIT_BYTES,
        headersTimeout: REQUEST_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
      },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.maxConnections = CONNECTION_LIMIT;
    this.#server.on('error', (error) => options.logger.error('the server of the metrics failed', { error }));
  }

  /** Resolves with where it listens: port 0 becomes the one that was given. Throws UNAVAILABLE that says why it cannot. */
  async start(address: SocketAddress): Promise<SocketAddress> {
    try {
      this.#server.listen(
        address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port },
      );
      await once(this.#server, 'listening');
    } catch (err) {
      const reason = err instanceof Error ? err.message : String(err);
      throw NabuError.of('UNAVAILABLE', { target: 'the address of the metrics', reason }, { cause: err });
    }
    const bound = this.#server.address();
    if (address.kind === 'unix' || bound === null || typeof bound === 'string') return address;
    return { ...address, port: bound.port };
  }

  /** Ends connections too. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status, type, body } = await this.#answer(request).catch((err) => this.#failed(err));
    const headers = { 'content-type': type, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' };
    // What a client sends as a body is not read: the connection ends with the answer.
    const hasBody =
      request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined;
    response.writeHead(status, { ...headers, ...(hasBody ? { connection: 'close' } : {}) });
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  async #answer({ method, url = '' }: IncomingMessage): Promise<Answer> {
    if (method !== 'GET' && method !== 'HEAD') return plain(405, 'GET and HEAD are understood');
    switch (url.split('?', 1)[0]) {
      case '/metrics':
        this.#scrape ??= this.#look().finally(() => {
          this.#scrape = undefined;
        });
        return await this.#scrape;
      case '/healthz':
        return plain(200, 'ok');
      case '/readyz': {
        const reason = this.#options.unready();
        return reason === undefined ? plain(200, 'ok') : plain(503, reason);
      }
      default:
        return plain(404, 'there are /metrics, /healthz and /readyz');
    }
  }

  async #look(): Promise<Answer> {
    const { metrics } = this.#options;
    return { status: 200, type: metrics.contentType, body: await metrics.exposition() };
  }

  #failed(err: unknown): Answer {
    const { message } = toNabuError(err, (correlationId, error) => {
      this.#options.logger.error('a request was not answered', { correlationId, error });
    });
    return plain(500, message);
  }
}
