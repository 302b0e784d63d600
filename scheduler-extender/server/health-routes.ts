import type { FastifyInstance } from 'fastify';
import type { ExtenderMetrics } from './extender-metrics.ts';

/** Health, readiness and metrics, on whichever server is asked for them. */
export function addHealth(
  app: FastifyInstance,
  unready: () => string | undefined,
  metrics: Pick<ExtenderMetrics, 'registry'>,
): void {
  app.get('/healthz', (_, reply) => reply.type('text/plain').send('ok\n'));
  app.get('/readyz', (_, reply) => {
    const reason = unready();
    return reply
      .code(reason === undefined ? 200 : 503)
      .type('text/plain')
      .send(`${reason ?? 'ok'}\n`);
  });
  app.get('/metrics', async (_, reply) => {
    return await reply.type(metrics.registry.contentType).send(await metrics.registry.metrics());
  });
}
