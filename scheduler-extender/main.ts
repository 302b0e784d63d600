import { hostname } from 'node:os';
import { NabuError } from '../common/errors/index.ts';
import { createLogger, type Logger } from '../common/logging/index.ts';
import { realClock } from '../common/ports/index.ts';
import { ClusterIndex } from './cluster/index.ts';
import { type ExtenderConfig, hostPort, labelsOf, listOf, rulesOf, tlsOf } from './config/index.ts';
import { Extender } from './decide/index.ts';
import { limitHeapGrowth } from './heap-limits.ts';
import {
  AnsweringEndpoint,
  type AnsweringEndpointOptions,
  KubeEndpointStore,
  KubeLeaseStore,
  LeaderLease,
  Leadership,
} from './leader/index.ts';
import { ReservationKeeper, Reservations } from './reservations/index.ts';
import { ExtenderMetrics, ExtenderServer, HealthServer } from './server/index.ts';
import { KubeWakeCall, type Room, Waker, type WakerOptions } from './wake/index.ts';
import { ClusterWatches, openControlSource } from './watch/index.ts';

/** Longer than a scheduler needs from our answer to what the API shows of it. */
const GRACE_MS = 2000;

/** Runs an extender until SIGTERM or SIGINT. */
export async function runExtender(config: ExtenderConfig): Promise<void> {
  limitHeapGrowth();
  const identity = config.identity === '' ? `${hostname()}-${process.pid}` : config.identity;
  const logger = createLogger({ level: config.logLevel, fields: { binary: 'scheduler-extender', identity } });
  const rules = rulesOf(config);
  const tls = tlsOf(config);
  const [listen, health] = [
    hostPort('listen', config.listen),
    config.health === '' ? undefined : hostPort('health', config.health),
  ];
  const ended = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });

  const index = new ClusterIndex();
  const { promisedMs, provisioningMs, settlingMs } = config;
  const reservations = new Reservations(realClock, { promisedMs, provisioningMs, settlingMs });
  const keeper = new ReservationKeeper(index, reservations, rules.need);
  const control = config.control === '' ? undefined : await openControlSource(config, index, logger);
  const watches = await ClusterWatches.start({
    kubeconfig: config.kubeconfig,
    labels: labelsOf(config),
    sink: index,
    staleMs: config.staleMs,
    further: control === undefined ? [] : [control.source],
    clock: realClock,
    logger,
  });
  const waker = await wakerOf(config, {
    room: () => roomOf(index, reservations),
    lapse: () => reservations.lapse(),
    isAnswering: () => refuses() === undefined,
    ended: (result) => metrics.woke(result),
    clock: realClock,
    logger,
  });
  const leadership = new Leadership({
    catchUp: (notBeforeMs) => watches.catchUp(notBeforeMs),
    graceMs: GRACE_MS,
    onAnswering: () => waker?.answers(),
    clock: realClock,
    logger,
  });
  const refuses = (): string | undefined => leadership.refuses() ?? watches.incomplete();
  const unready = (): string | undefined => refuses() ?? watches.unready();
  const metrics = new ExtenderMetrics({ index, reservations, unready, watched: watches });
  leadership.lead(await leaseOf(config, identity, logger, () => leadership.elected()));
  const server = new ExtenderServer({
    extender: new Extender({
      index,
      reservations,
      rules,
      staleness: () => watches.staleness(),
      onLackingRoom: () => waker?.refused(),
    }),
    metrics,
    refuses,
    unready,
    limits: {
      bodyBytes: config.maxBodyBytes,
      totalBytes: config.maxTotalBytes,
      timeoutMs: config.requestTimeoutMs,
      answerWithinMs: config.answerWithinMs,
      connections: config.maxConnections,
    },
    tls,
    clientNames: listOf(config.clientNames),
    clock: realClock,
    logger,
  });
  const healthServer = new HealthServer(unready, metrics, () => watches.unready());
  const bound = await server.start(listen);
  const boundHealth = health === undefined ? undefined : await healthServer.start(health);
  logger.info('listening', { ...bound, tls: tls !== undefined, healthPort: boundHealth?.port });

  const endpoint = await endpointOf(
    config,
    { https: bound.port, health: boundHealth?.port },
    {
      isAnswering: () => unready() === undefined,
      clock: realClock,
      logger,
    },
  );
  endpoint?.start();

  logger.info('stopping', { signal: await ended });
  await endpoint?.stop();
  await waker?.stop();
  await leadership.stop();
  await server.close();
  await healthServer.close();
  keeper.close();
  await watches.stop();
  control?.client.close();
}

/** Costs nothing: it is asked inside of requests. */
function roomOf({ storage }: ClusterIndex, { returns, chargedBytes }: Reservations): Room {
  return { returns, freeBytes: storage.isUnknown ? 0 : storage.freeBytes - chargedBytes };
}

async function wakerOf(config: ExtenderConfig, options: Omit<WakerOptions, 'call'>): Promise<Waker | undefined> {
  if (config.wake === '') {
    options.logger.info(
      'pods that are refused for capacity wait for the next event: it is not said what may be changed',
      {
        option: 'wake',
      },
    );
    return undefined;
  }
  return new Waker({ ...options, call: await KubeWakeCall.open(config.kubeconfig, config.wake, options.clock) });
}

async function endpointOf(
  { kubeconfig, service, address }: ExtenderConfig,
  listening: Readonly<Record<string, number | undefined>>,
  options: Omit<AnsweringEndpointOptions, 'store'>,
): Promise<AnsweringEndpoint | undefined> {
  if (service === '') return undefined;
  if (address === '')
    throw NabuError.of('CONFIG_INVALID', { source: 'address', reason: 'a Service is led to it: say which' });
  const ports = Object.fromEntries(
    Object.entries(listening).flatMap(([name, port]) => (port === undefined ? [] : [[name, port]])),
  );
  return new AnsweringEndpoint({
    ...options,
    store: await KubeEndpointStore.open({ kubeconfig, service, address, ports }),
  });
}

async function leaseOf(
  config: ExtenderConfig,
  identity: string,
  logger: Logger,
  onElected: () => void,
): Promise<LeaderLease | undefined> {
  if (config.lease === '') return undefined;
  const store = await KubeLeaseStore.open(config.kubeconfig, config.lease);
  return new LeaderLease({ store, identity, clock: realClock, logger, onElected });
}
