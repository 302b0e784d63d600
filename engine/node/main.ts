import { NabuError } from '../../common/errors/index.ts';
import { isLoopback, parseAddress } from '../../common/grpc/index.ts';
import { type Layout, layoutOf } from '../../common/layout/index.ts';
import { createLogger, type Logger } from '../../common/logging/index.ts';
import { realClock, realRandom } from '../../common/ports/index.ts';
import { hexOf, parsePolicy } from '../blob/index.ts';
import { ControlClient } from '../control/index.ts';
import type { ClusterMap } from '../placement/index.ts';
import { parseClusterMap } from '../placement/index.ts';
import { clientHello, RemoteNode } from '../protocol/index.ts';
import { Slab } from '../slab/index.ts';
import { openNativeStore, type ShardStore, type StoreDevice } from '../store/index.ts';
import { type Listener, TcpTransport } from '../transport/index.ts';
import { ControlFollower } from './control-follower.ts';
import { type FencePeers, FenceTakeover } from './fence-takeover.ts';
import { NodeFiles, type NodeRecord } from './node-files.ts';
import { NodeLoad } from './node-load.ts';
import { NodeMap } from './node-map.ts';
import { NodeReporter } from './node-reporter.ts';
import type { StorConfig } from './stor-config.ts';
import { StorNode } from './stor-node.ts';

const FIRST_MAP_RETRY_MS = 200;
const CALL_TIMEOUT_MS = 10_000;
const VOLUME_PAGE = 1_000;
const HELD_PORT_CODES = new Set(['EADDRINUSE']);

/** `nabu stor`: one storage node on one device, until the signal ends it. */
export async function runStor(config: StorConfig, signal: AbortSignal): Promise<void> {
  const layout = layoutOf(config.dir);
  const logger = createLogger({ level: config.logLevel, fields: { binary: 'stor', node: config.nodeId } });
  if (!isLoopback(config.host)) {
    logger.warn('listening beyond this machine without TLS: whoever reaches the port can read, write and delete', {
      host: config.host,
    });
  }
  const { dir, record } = layout.node(config.nodeId);
  const files = new NodeFiles(dir, record);
  const lock = await files.lock();
  const control = new ControlClient(
    config.control === '' ? { kind: 'unix', path: layout.controlSocket } : parseAddress(config.control),
  );
  try {
    await serve(config, layout, files, control, logger, signal);
  } finally {
    control.close();
    await lock.release();
  }
}

async function serve(
  config: StorConfig,
  layout: Layout,
  files: NodeFiles,
  control: ControlClient,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  const first = await firstMap(config, files, control, logger, signal);
  if (first === undefined) return;
  const map = new NodeMap(first);
  const slab = Slab.create({ sizeBytes: config.slabBytes });
  const device = deviceOf(config, layout);
  const store = await openNativeStore({
    slab: slab.buffer,
    device,
    clusterId: Buffer.from(first.clusterId, 'hex'),
    nodeId: config.nodeId,
    format: 'if-blank',
    clock: realClock,
    ...(config.segmentBytes === 0 ? {} : { segmentBytes: config.segmentBytes }),
  });
  const stop = new AbortController();
  const work: Promise<void>[] = [];
  let listener: Listener | undefined;
  try {
    const transport = new TcpTransport({ slab, clock: realClock, logger: logger.child({ component: 'transport' }) });
    const connect: FencePeers = async (peer, deadline) => {
      const hello = clientHello(first.clusterId, peer.id, config.nodeId);
      const connection = await transport.connect(peer.address, hello, { deadline });
      return { client: new RemoteNode(connection), close: () => connection.close() };
    };
    const takeover = new FenceTakeover({
      store,
      map,
      connect,
      clock: realClock,
      random: realRandom,
      logger: logger.child({ component: 'fences' }),
      maxParity: config.maxParity,
      askMaxParity: (ended) => maxParityOf(control, ended),
    });
    const node = new StorNode({
      store,
      slab,
      map,
      clock: realClock,
      logger,
      fences: () => takeover.progress(),
      transportStats: () => ({ ...transport.counters, connections: listener?.connections ?? 0 }),
    });
    listener = await listen(config, await files.readRecord(), logger, (port) =>
      transport.listen({ host: config.host, port }, node.handle, node.hello),
    );
    await files.writeRecord(recordOf(config, store, listener, device));
    logger.info('serving', {
      ...listener.address,
      device: device.driver,
      fencesComplete: store.identity.fencesComplete,
    });
    work.push(follower(config, store, map, listener, control, logger).run(stop.signal));
    work.push(takeover.run(stop.signal));
    const reporter = new NodeReporter({
      nodeId: config.nodeId,
      map,
      load: new NodeLoad(slab),
      connect,
      control,
      periodMs: config.reportMs,
      clock: realClock,
      random: realRandom,
      logger: logger.child({ component: 'reports' }),
    });
    work.push(reporter.run(stop.signal));
    work.push(keepMap(files, map, logger, stop.signal));
    await Promise.race([aborted(signal), Promise.all(work).then(() => aborted(signal))]);
    logger.info('stopping');
  } finally {
    stop.abort();
    await listener?.close();
    await Promise.allSettled(work);
    await store.close();
  }
  logger.info('stopped');
}

/** The highest m of all volumes. */
async function maxParityOf(control: ControlClient, signal: AbortSignal): Promise<number> {
  let highest = 0;
  for (let pageToken = ''; ; ) {
    const page = await control.listVolumes({ pageToken, limit: VOLUME_PAGE }, { timeoutMs: CALL_TIMEOUT_MS, signal });
    for (const { policy } of page.volumes) highest = Math.max(highest, parsePolicy(policy).m);
    if (page.nextPageToken === '') return highest;
    pageToken = page.nextPageToken;
  }
}

function follower(
  config: StorConfig,
  store: ShardStore,
  map: NodeMap,
  listener: Listener,
  control: ControlClient,
  logger: Logger,
): ControlFollower {
  const { identity } = store;
  return new ControlFollower({
    control,
    map,
    node: {
      nodeId: config.nodeId,
      address: listener.address,
      domain: {
        zone: config.zone,
        rack: config.rack,
        host: config.hostLabel === '' ? config.nodeId : config.hostLabel,
      },
      weight: config.weight,
      deviceId: hexOf(identity.deviceId),
      incarnation: identity.incarnation,
      capacityBytes: BigInt(store.stats().capacityBytes),
      clusterId: hexOf(identity.clusterId),
    },
    onGenesis: async () => {
      if (store.identity.fencesComplete) return;
      await store.setCompleteSince(0n);
      await store.setFencesComplete();
    },
    clock: realClock,
    random: realRandom,
    logger: logger.child({ component: 'control' }),
  });
}

/** The map to start with: the last one there was, else control's. Undefined when the signal came first. */
async function firstMap(
  config: StorConfig,
  files: NodeFiles,
  control: ControlClient,
  logger: Logger,
  signal: AbortSignal,
): Promise<ClusterMap | undefined> {
  const known = await files.readMap();
  const clusterId = known?.clusterId ?? (await files.readRecord())?.clusterId ?? config.clusterId;
  if (config.clusterId !== '' && config.clusterId !== clusterId) {
    const reason = `clusterId: ${config.clusterId} is not the cluster ${clusterId} that this node belongs to`;
    throw NabuError.of('CONFIG_INVALID', { source: 'stor', reason });
  }
  if (known !== undefined) return known;
  if (clusterId !== '') return parseClusterMap({ clusterId, epoch: 0, nodes: [] }, 'clusterId');
  for (let told = false; !signal.aborted; told = true) {
    try {
      return await control.getMap({ timeoutMs: CALL_TIMEOUT_MS, signal });
    } catch (err) {
      if (!NabuError.is(err)) throw err;
      if (!told) logger.warn('waiting for control, which names the cluster', { reason: err.message });
      await realClock.sleep(FIRST_MAP_RETRY_MS, signal).catch(() => undefined);
    }
  }
  return undefined;
}

function deviceOf(config: StorConfig, layout: Layout): StoreDevice {
  if (config.driver === 'memory') return { driver: 'memory', sizeBytes: config.deviceSizeBytes, populate: true };
  const path = config.device === '' ? layout.node(config.nodeId).device : config.device;
  return { driver: 'uring', path, sizeBytes: config.deviceSizeBytes };
}

/** On the port that was asked for; else on the one it had, so that peers with an old map find it; else on a free one. */
async function listen(
  config: StorConfig,
  record: NodeRecord | undefined,
  logger: Logger,
  open: (port: number) => Promise<Listener>,
): Promise<Listener> {
  if (config.port !== 0 || record === undefined) return await open(config.port);
  try {
    return await open(record.port);
  } catch (err) {
    if (!NabuError.is(err, 'UNAVAILABLE') || !HELD_PORT_CODES.has(String(err.fields.reason))) throw err;
    logger.warn('the port this node had is taken, it gets another', { port: record.port });
    return await open(0);
  }
}

function recordOf(config: StorConfig, store: ShardStore, listener: Listener, device: StoreDevice): NodeRecord {
  return {
    id: config.nodeId,
    pid: process.pid,
    clusterId: hexOf(store.identity.clusterId),
    host: listener.address.host,
    port: listener.address.port,
    ...(device.driver === 'uring' ? { devicePath: device.path } : {}),
    deviceId: hexOf(store.identity.deviceId),
    incarnation: store.identity.incarnation.toString(),
  };
}

/** Writes every new map beside the device; of several that came meanwhile only the newest. */
async function keepMap(files: NodeFiles, map: NodeMap, logger: Logger, signal: AbortSignal): Promise<void> {
  let wake = Promise.withResolvers<void>();
  const end = map.onChange(() => wake.resolve());
  const onAbort = (): void => wake.resolve();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    for (let written = -1; !signal.aborted; await wake.promise) {
      wake = Promise.withResolvers<void>();
      const current = map.current();
      if (current.epoch > written && current.epoch > 0) {
        // Without the file the next start needs control; that is no reason to stop serving now.
        await files.writeMap(current).catch((err: unknown) => logger.error('the map cannot be kept', { err }));
      }
      written = current.epoch;
      if (map.current().epoch > written) wake.resolve();
    }
  } finally {
    end();
    signal.removeEventListener('abort', onAbort);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
