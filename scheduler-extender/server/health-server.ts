import Fastify, { type FastifyInstance } from 'fastify';
import { NabuError } from '../../common/errors/index.ts';
import type { ExtenderMetrics } from './extender-metrics.ts';
import { addHealth } from './health-routes.ts';

type Address = { readonly host: string; readonly port: number };

/** Health, readiness and metrics in the clear, for probes and scrapers that have no certificate. Tells nothing of any pod. */
export class HealthServer {
  readonly #app: FastifyInstance;

  /** `ignorant`: why it could not answer even if it were elected. */
  constructor(
    unready: () => string | undefined,
    metrics: Pick<ExtenderMetrics, 'registry'>,
    ignorant: () => string | undefined = unready,
  ) {
    this.#app = Fastify({ logger: false, bodyLimit: 1024 });
    addHealth(this.#app, unready, metrics, ignorant);
  }

  /** Resolves with where it listens. Throws UNAVAILABLE. */
  async start(address: Address): Promise<Address> {
    try {
      await this.#app.listen(address);
    } catch (err) {
      const reason = err instanceof Error ? err.message : String(err);
      throw NabuError.of('UNAVAILABLE', { target: `${address.host}:${address.port}`, reason }, { cause: err });
    }
    const bound = this.#app.server.address();
    return bound === null || typeof bound === 'string' ? address : { host: bound.address, port: bound.port };
  }

  async close(): Promise<void> {
    const closed = this.#app.close();
    this.#app.server.closeIdleConnections();
    await closed;
  }
}
