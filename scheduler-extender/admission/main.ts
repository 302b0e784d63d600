import { hostname } from 'node:os';
import { AdmissionMetrics, AdmissionServer, TlsFiles } from '../../common/admission/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { formatAddress } from '../../common/grpc/index.ts';
import { createLogger, type Logger } from '../../common/logging/index.ts';
import { realClock } from '../../common/ports/index.ts';
import { ClusterIndex } from '../cluster/index.ts';
import { hostPort, labelsOf, listOf, rulesOf } from '../config/index.ts';
import { ExtenderHealth, GateController, KubeGatedPods, readyProbe } from '../gate/index.ts';
import { limitHeapGrowth } from '../heap-limits.ts';
import { MARKER_RESOURCE } from '../kube/index.ts';
import { KubeEndpointStore, KubeLeaseStore, LeaderLease } from '../leader/index.ts';
import { HealthServer } from '../server/index.ts';
import { ClusterWatches, openControlSource } from '../watch/index.ts';
import { gateFigures } from './gate-figures.ts';
import { GATE } from './marker-patch.ts';
import type { SchedulerAdmissionConfig } from './options.ts';
import { type Admission, placePod } from './place-pod.ts';

export { SCHEDULER_ADMISSION_CONFIG } from './options.ts';

const CUT_TIMEOUT_MS = 2000;

type Gate = { readonly controller: GateController; stop(): Promise<void> };

/** Lifts gates while it leads and an extender answers. Throws CONFIG_INVALID. */
async function startGate(
  config: SchedulerAdmissionConfig,
  index: ClusterIndex,
  identity: string,
  logger: Logger,
): Promise<Gate> {
  if (config.extender === '')
    throw NabuError.of('CONFIG_INVALID', {
      source: 'extender',
      reason: 'gates are lifted while it answers: say where',
    });
  const { kubeconfig } = config;
  const api = await KubeGatedPods.open({ kubeconfig, gate: GATE, marker: MARKER_RESOURCE, clock: realClock, logger });
  const store = config.lease === '' ? undefined : await KubeLeaseStore.open(kubeconfig, config.lease);
  const lease =
    store &&
    new LeaderLease({ store, identity, clock: realClock, logger, onElected: () => logger.info('gates are ours') });
  const service =
    config.service === ''
      ? undefined
      : await KubeEndpointStore.open({ kubeconfig, service: config.service, address: '', ports: {} });
  const breaker = async (): Promise<boolean> => {
    if (lease?.isHeld === false) return false;
    await service?.cut(AbortSignal.timeout(CUT_TIMEOUT_MS));
    if (service !== undefined) logger.warn('nobody is behind the Service any more: the extender hangs');
    return true;
  };
  const health = new ExtenderHealth(readyProbe(config.extender), realClock, logger, breaker);
  const closed = (): string | undefined => {
    if (lease?.isHeld === false) return 'another one lifts gates, or nobody is elected yet';
    return health.unhealthy();
  };
  // Before 1.35 a pod does not say that it waits for its volumes on a node that has been chosen; the claims do.
  const isPlaced = (uid: string): boolean =>
    index.pods.find(uid)?.claims.some((key) => {
      const claim = index.claims.find(key);
      return claim !== undefined && claim.selectedNode !== '' && claim.volumeName === '';
    }) === true;
  const rate = { perSecond: config.gateRate, burst: config.gateBurst, window: config.gateWindow };
  const controller = new GateController({ api, rate, closed, isPlaced, clock: realClock, logger });
  health.start();
  lease?.start();
  controller.start();
  return {
    controller,
    stop: async () => {
      await controller.stop();
      await Promise.all([health.stop(), lease?.stop()]);
    },
  };
}

/** Runs the webhook, and the gate where there is one, until SIGTERM or SIGINT. */
export async function runSchedulerAdmission(config: SchedulerAdmissionConfig, version: string): Promise<void> {
  limitHeapGrowth();
  const identity = config.identity === '' ? `${hostname()}-${process.pid}` : config.identity;
  const clock = realClock;
  const logger = createLogger({ level: config.logLevel, fields: { binary: 'scheduler-admission', identity } });
  const ended = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
  const listen = hostPort('listen', config.listen);
  const index = new ClusterIndex();
  const schedulers = new Set([...listOf(config.schedulers), ...(config.sendTo === '' ? [] : [config.sendTo])]);
  const admission: Admission = {
    index,
    rules: rulesOf(config),
    labels: labelsOf(config),
    placement: config,
    schedulers,
    advisesOthers: config.adviseOthers,
    gates: config.gates,
    sendTo: config.sendTo,
  };
  await using closing = new AsyncDisposableStack();
  const control = config.control === '' ? undefined : await openControlSource(config, index, logger);
  closing.defer(() => control?.client.close());
  const watches = await ClusterWatches.start({
    kubeconfig: config.kubeconfig,
    labels: admission.labels,
    sink: index,
    staleMs: config.staleMs,
    further: control === undefined ? [] : [control.source],
    clock,
    logger,
  });
  closing.defer(() => watches.stop());
  const gate = config.gates && schedulers.size > 0 ? await startGate(config, index, identity, logger) : undefined;
  closing.defer(() => gate?.stop());
  const metrics = new AdmissionMetrics();
  if (gate !== undefined) gateFigures(metrics.registry, gate.controller);
  const files = await TlsFiles.open({ certPath: config.tlsCert, keyPath: config.tlsKey, clock, logger });
  closing.defer(() => files.close());
  const judge = (request: Parameters<typeof placePod>[0]): ReturnType<typeof placePod> => placePod(request, admission);
  const server = await AdmissionServer.create({ tls: files.pair, judge, metrics, clock, logger });
  closing.defer(() => server.close());
  files.follow((pair) => server.useTls(pair));
  const bound = formatAddress(await server.start({ kind: 'tcp', ...listen }));
  if (config.health !== '') {
    const health = new HealthServer(() => watches.unready(), metrics);
    closing.defer(() => health.close());
    const at = await health.start(hostPort('health', config.health));
    logger.info('health is told', { health: `${at.host}:${at.port}` });
  }
  logger.info('running', { version, listen: bound, schedulers: [...schedulers], gates: gate !== undefined });
  logger.info('stopping', { signal: await ended });
}
