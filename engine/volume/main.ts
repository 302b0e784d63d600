import { join } from 'node:path';
import { NabuError } from '../../common/errors/index.ts';
import { GrpcServer, parseAddress } from '../../common/grpc/index.ts';
import { layoutOf } from '../../common/layout/index.ts';
import { createLogger, type Logger } from '../../common/logging/index.ts';
import { realClock, realRandom } from '../../common/ports/index.ts';
import { services } from '../../proto/gen/services.js';
import { BlobClient } from '../client/index.ts';
import { ControlClient } from '../control/index.ts';
import { Slab } from '../slab/index.ts';
import { TcpTransport } from '../transport/index.ts';
import { CachedMap } from './cached-map.ts';
import { hostHandlers } from './host-service.ts';
import { KeeperClient } from './keeper-client.ts';
import type { VolumeServerConfig } from './server-config.ts';
import { VolumeHost } from './volume-host.ts';
import { VolumeReporter } from './volume-reporter.ts';

const UNUSED_POLL_MS = 500;

/** What cannot be paged out progresses while the kernel frees memory; where the limit forbids it, that is said. */
function makeSlab(sizeBytes: number, logger: Logger): Slab {
  try {
    return Slab.create({ sizeBytes, lock: true });
  } catch (err) {
    if (!NabuError.is(err, 'PERMISSION_DENIED')) throw err;
    logger.warn('memory is not locked: under memory pressure a volume may stall (raise RLIMIT_MEMLOCK)', { err });
    return Slab.create({ sizeBytes });
  }
}

/** Without a keeper nobody else will end this process: it goes when the kernel needs it no more. */
async function endWhenUnused(host: VolumeHost, ended: AbortController): Promise<void> {
  while (host.volumes.some((volume) => volume.hasDevice)) await realClock.sleep(UNUSED_POLL_MS, ended.signal);
  ended.abort(NabuError.of('CANCELLED', { operation: 'serving without a keeper' }));
}

/** Runs one server of the pool until SIGTERM or SIGINT. Its keeper starts it, and starts it again when it dies. */
export async function runVolumeServer(config: VolumeServerConfig): Promise<void> {
  const layout = layoutOf(config.dir);
  const logger = createLogger({ level: config.logLevel, fields: { binary: 'volume-server', slot: config.slot } });
  const ended = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => ended.abort(NabuError.of('CANCELLED', { operation: 'serving' })));
  }
  const controlAddress =
    config.control === '' ? ({ kind: 'unix', path: layout.controlSocket } as const) : parseAddress(config.control);
  const control = new ControlClient(controlAddress);
  const orphaned = new AbortController();
  const keeper = KeeperClient.connect(config.keeper === '' ? layout.keeperSocket(config.slot) : config.keeper, {
    clock: realClock,
    // Service goes on without a keeper, what is open stays open; only nothing new can be.
    onLost: (reason) => {
      logger.error('the keeper is gone: this server must not die now', { reason });
      orphaned.abort();
    },
  });
  const slab = makeSlab(config.slabBytes, logger);
  const mapPath = join(layout.volumes, `map-${config.slot}.json`);
  const maps = await CachedMap.open({ path: mapPath, control, clock: realClock, logger }, ended.signal);
  const blobs = new BlobClient({
    slab,
    transport: new TcpTransport({ slab, clock: realClock, logger }),
    maps,
    clock: realClock,
    random: realRandom,
    logger,
    label: `volume server ${config.slot}`,
  });
  const { readCacheBytes, mapCacheBytes, sealDelayMs, checkpointBytes, checkpointIntervalMs } = config;
  const host = new VolumeHost({
    slab,
    blobs,
    keeper,
    control,
    clock: realClock,
    logger,
    limits: { readCacheBytes, mapCacheBytes, sealDelayMs, checkpointBytes, checkpointIntervalMs },
    ringBytes: config.ringBytes,
    openTimeoutMs: config.openTimeoutMs,
    stateFolder: layout.volumes,
  });
  await host.adoptAll();
  const server = new GrpcServer({ logger });
  server.add(services['nabustore.v1.VolumeHost'], hostHandlers(host));
  await server.listen({ kind: 'unix', path: layout.volumeHostSocket(config.slot) });
  const reporter = new VolumeReporter({ host, control, clock: realClock, logger, nodeName: config.nodeName });
  reporter.start();
  orphaned.signal.addEventListener('abort', () => void endWhenUnused(host, ended), { once: true });
  if (orphaned.signal.aborted) void endWhenUnused(host, ended);
  logger.info('volume server ready', { volumes: host.volumes.length });
  await new Promise<void>((resolve) => ended.signal.addEventListener('abort', () => resolve(), { once: true }));
  logger.info('stopping: the keeper has the volumes until another server takes them over');
  await reporter.close();
  await server.close();
  await host.stop();
  blobs.close();
  await maps.close();
  keeper.close();
  control.close();
}
