import { AdmissionMetrics, AdmissionServer, type PodJudge, parsedAs, TlsFiles } from '../../common/admission/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { formatAddress, parseAddress, type SocketAddress } from '../../common/grpc/index.ts';
import { createLogger } from '../../common/logging/index.ts';
import { realClock } from '../../common/ports/index.ts';
import { ConfigFile } from '../config/index.ts';
import { MetricsServer } from '../metrics/index.ts';
import { hugetlbfsUnits } from './hugetlbfs-units.ts';
import type { AdmissionOptions } from './options.ts';
import { podSchema } from './pod-view.ts';
import { reviewPod } from './review-pod.ts';

function tcpAddress(field: string, text: string): Extract<SocketAddress, { kind: 'tcp' }> {
  const address = parseAddress(text);
  if (address.kind === 'tcp') return address;
  throw NabuError.of('INVALID_ARGUMENT', { field, reason: 'it is not HOST:PORT' });
}

/**
 * Runs the admission server until SIGTERM or SIGINT. Throws CONFIG_INVALID, FILE_INVALID or UNAVAILABLE when it cannot start;
 * what turns bad later is logged, and what was good before stays in force.
 */
export async function runAdmission(options: AdmissionOptions, version: string): Promise<void> {
  const clock = realClock;
  const logger = createLogger({ level: options.logLevel, fields: { binary: 'admission' } });
  const ended = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
  await using closing = new AsyncDisposableStack();
  const config = new ConfigFile({ path: options.resources, clock, logger });
  await config.start();
  closing.defer(() => config.close());
  const metrics = new AdmissionMetrics();
  // By the newest configuration.
  const judge: PodJudge = ({ object, field }) =>
    reviewPod(parsedAs(podSchema, object, field), hugetlbfsUnits(config.config));
  const files = await TlsFiles.open({ certPath: options.tlsCert, keyPath: options.tlsKey, clock, logger });
  closing.defer(() => files.close());
  const server = await AdmissionServer.create({ tls: files.pair, judge, metrics, clock, logger });
  closing.defer(() => server.close());
  files.follow((pair) => server.useTls(pair));
  const listen = formatAddress(await server.start(tcpAddress('listen', options.listen)));
  if (options.metrics !== '') {
    const figures = new MetricsServer({ metrics, unready: () => undefined, logger });
    closing.defer(() => figures.close());
    const at = await figures.start(tcpAddress('metrics', options.metrics));
    logger.info('figures are served', { metrics: formatAddress(at) });
  }
  logger.info('running', { version, listen });
  logger.info('stopping', { signal: await ended });
}
