import { join } from 'node:path';
import { formatAddress, parseAddress } from '../../common/grpc/index.ts';
import { layoutOf } from '../../common/layout/index.ts';
import { createLogger } from '../../common/logging/index.ts';
import { realClock, realRandom } from '../../common/ports/index.ts';
import { StampClock } from '../blob/index.ts';
import { NodeHealth, NodeVolumeReaper, TransportConnector } from '../client/index.ts';
import { Slab } from '../slab/index.ts';
import { TcpTransport } from '../transport/index.ts';
import type { ControlConfig } from './config.ts';
import { ControlServer } from './control-server.ts';
import { SqliteStore } from './sqlite-store.ts';

/** Control sends nodes a few small requests when a volume is deleted, and no payload. */
const SLAB_BYTES = 1 << 20;
const STALL_MS = 5000;

/** Runs control until SIGTERM or SIGINT. */
export async function runControl(config: ControlConfig, version: string): Promise<void> {
  const layout = layoutOf(config.dir);
  const clock = realClock;
  const logger = createLogger({ level: config.logLevel, fields: { binary: 'control' } });
  const slab = Slab.create({ sizeBytes: SLAB_BYTES, hugePages: 'no' });
  const transport = new TcpTransport({ slab, clock, logger });
  let health: NodeHealth | undefined;
  const server = await ControlServer.open({
    store: new SqliteStore(join(layout.control, 'control.db')),
    reaper: (maps) => {
      const connector = new TransportConnector({ transport, maps, clock, stallMs: STALL_MS, label: 'control' });
      health = new NodeHealth({ connector, maps, clock, random: realRandom, logger });
      return new NodeVolumeReaper({ health, stamps: new StampClock(clock), clock });
    },
    defaultPolicy: config.defaultPolicy,
    version,
    clock,
    random: realRandom,
    logger,
    allowRemote: config.allowRemote,
  });
  const ended = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
  const addresses = config.listen === '' ? [] : [parseAddress(config.listen)];
  const endpoint = config.endpoint === '' ? layout.controlSocket : config.endpoint;
  for (const address of [parseAddress(endpoint), ...addresses]) {
    logger.info('listening', { address: formatAddress(await server.listen(address)) });
  }
  logger.info('stopping', { signal: await ended });
  await server.close();
  health?.close();
}
