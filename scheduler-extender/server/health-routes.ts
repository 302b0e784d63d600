import type { FastifyInstance } from 'fastify';
import type { ExtenderMetrics } from './extender-metrics.ts';

/**
 * Health, readiness and metrics, on whichever server is asked for them. `unready`: why it does not answer; `ignorant`: why it could not
 * even if it were elected.
 */
export function addHealth(
  app: FastifyInstance,
  unready: () => string | undefined,
  metrics: Pick<ExtenderMetrics, 'registry'>,
  ignorant: () => string | undefined = unready,
): void {
  const tell = (path: string, why: () => string | undefined): void => {
    app.get(path, (_, reply) => {
      const reason = why();
      return reply
        .code(reason === undefined ? 200 : 503)
        .type('text/plain')
        .send(`${reason ?? 'ok'}\n`);
    });
  };
  app.get('/healthz', (_, reply) => reply.type('text/plain').send('ok\n'));
  tell('/readyz', unready);
  tell('/standbyz', ignorant);
  app.get('/metrics', async (_, reply) => {
    return await reply.type(metrics.registry.contentType).send(await metrics.registry.metrics());
  });
}
