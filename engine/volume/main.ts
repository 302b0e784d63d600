import { join } from 'node:path';
import { NabuError } from '../../common/errors/index.ts';
import { GrpcServer, parseAddress } from '../../common/grpc/index.ts';
import { type Layout, layoutOf } from '../../common/layout/index.ts';
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
import { closeFd } from './native.ts';
import type { VolumeServerConfig } from './server-config.ts';
import { VolumeHost } from './volume-host.ts';
import { VolumeReporter } from './volume-reporter.ts';
import { warmUp } from './warm-up.ts';

const UNUSED_POLL_MS = 500;
const SLAB_NAME = 'slab';

/**
 * What cannot be paged out progresses while the kernel frees memory; where the limit forbids it, that is said. The keeper keeps the
 * pages: to take new ones is most of what a restart would take.
 */
async function makeSlab(sizeBytes: number, keeper: KeeperClient, logger: Logger): Promise<Slab> {
  const memoryFd = await keeper.scratch(SLAB_NAME, sizeBytes);
  try {
    return Slab.create({ sizeBytes, lock: true, memoryFd });
  } catch (err) {
    if (!NabuError.is(err, 'PERMISSION_DENIED')) throw err;
    logger.warn('memory is not locked: under memory pressure a volume may stall (raise RLIMIT_MEMLOCK)', { err });
    return Slab.create({ sizeBytes, memoryFd });
  } finally {
    closeFd(memoryFd);
  }
}

/** Without a keeper nobody else will end this process: it goes when the kernel needs it no more. */
async function endWhenUnused(host: VolumeHost, ended: AbortController): Promise<void> {
  while (host.volumes.some((volume) => volume.hasDevice)) await realClock.sleep(UNUSED_POLL_MS, ended.signal);
  ended.abort(NabuError.of('CANCELLED', { operation: 'serving without a keeper' }));
}

/**
 * Runs one server of the pool until SIGTERM or SIGINT. Its keeper starts it as the one that serves or, beside that one, as the spare:
 * either gets ready first and touches no volume before the keeper says that it is its turn.
 */
export async function runVolumeServer(config: VolumeServerConfig): Promise<void> {
  const layout = layoutOf(config.dir);
  const logger = createLogger({ level: config.logLevel, fields: { binary: 'volume-server', slot: config.slot } });
  const ended = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => ended.abort(NabuError.of('CANCELLED', { operation: 'serving' })));
  }
  const control = new ControlClient(
    config.control === '' ? { kind: 'unix', path: layout.controlSocket } : parseAddress(config.control),
  );
  const orphaned = new AbortController();
  const keeper = KeeperClient.connect(config.keeper === '' ? layout.keeperSocket(config.slot) : config.keeper, {
    clock: realClock,
    onLost: () => orphaned.abort(),
  });
  const slab = await makeSlab(config.slabBytes, keeper, logger);
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
  try {
    // Nobody waits for it: where it is our turn at once, opening does what is left of it.
    const warm = warmUp({ blobs, maps, clock: realClock, logger });
    const isOurTurn = await turn(keeper, orphaned.signal, ended.signal);
    if (isOurTurn)
      await serve({ config, layout, logger, control, keeper, slab, blobs, ended, orphaned: orphaned.signal });
    await warm;
  } finally {
    blobs.close();
    await maps.close();
    keeper.close();
    control.close();
  }
}

/** False when the keeper, or the signal to end, was faster. */
async function turn(keeper: KeeperClient, orphaned: AbortSignal, ended: AbortSignal): Promise<boolean> {
  try {
    await keeper.serve(ended);
    return true;
  } catch (err) {
    if (ended.aborted || orphaned.aborted) return false;
    throw err;
  }
}

type Serving = {
  readonly config: VolumeServerConfig;
  readonly layout: Layout;
  readonly logger: Logger;
  readonly control: ControlClient;
  readonly keeper: KeeperClient;
  readonly slab: Slab;
  readonly blobs: BlobClient;
  readonly ended: AbortController;
  readonly orphaned: AbortSignal;
};

async function serve({ config, layout, ended, orphaned, ...parts }: Serving): Promise<void> {
  const { logger, control, keeper } = parts;
  const { readCacheBytes, mapCacheBytes, sealDelayMs, checkpointBytes, checkpointIntervalMs } = config;
  const host = new VolumeHost({
    ...parts,
    clock: realClock,
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
  // Service goes on without a keeper, what is open stays open; only nothing new can be.
  const onOrphaned = (): void => {
    logger.error('the keeper is gone: this server must not die now');
    void endWhenUnused(host, ended);
  };
  orphaned.addEventListener('abort', onOrphaned, { once: true });
  if (orphaned.aborted) onOrphaned();
  logger.info('volume server ready', { volumes: host.volumes.length });
  host
    .adopted()
    .then(async () => await keeper.ready().catch((err: unknown) => logger.warn('no spare server', { err })));
  await new Promise<void>((resolve) => ended.signal.addEventListener('abort', () => resolve(), { once: true }));
  logger.info('stopping: the keeper has the volumes until another server takes them over');
  await reporter.close();
  await server.close();
  await host.stop();
}
