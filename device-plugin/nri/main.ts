import { join } from 'node:path';
import { createLogger } from '../../common/logging/index.ts';
import { realClock, realRandom } from '../../common/ports/index.ts';
import { PodResources } from '../pod-resources/index.ts';
import { QuietHeap } from '../quiet-heap.ts';
import { DeviceHolders } from './device-holders.ts';
import { UNLIMITED } from './memlock.ts';
import { MemlockHandler } from './memlock-handler.ts';
import { NriPlugin } from './nri-plugin.ts';
import type { NriOptions } from './options.ts';
import { RuntimeRights } from './runtime-rights.ts';

export { NRI_OPTIONS } from './options.ts';

/** Runs the NRI plugin until SIGTERM or SIGINT. */
export async function runNri(options: NriOptions, version: string): Promise<void> {
  const logger = createLogger({ level: options.logLevel, fields: { binary: 'nri' } });
  const ended = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
  const socket = join(options.kubeletDir, 'pod-resources/kubelet.sock');
  const podResources = new PodResources({ socket, clock: realClock });
  const bytes = options.memlock === 'unlimited' ? UNLIMITED : BigInt(options.memlock);
  const rights = new RuntimeRights(options.procRoot, bytes, realClock);
  const heap = new QuietHeap(realClock);
  heap.used(); // by loading
  const devices = new DeviceHolders(podResources, logger);
  const handler = new MemlockHandler({
    holders: {
      heldBy(pod, container, deadline) {
        heap.used();
        return devices.heldBy(pod, container, deadline);
      },
    },
    bytes,
    cannotRaise: () => rights.cannotRaise(),
    logger,
  });
  const plugin = new NriPlugin({
    socketPath: options.socket,
    name: options.name,
    index: options.index,
    handler,
    clock: realClock,
    random: realRandom,
    logger,
  });
  plugin.start();
  logger.info('running', { version });
  logger.info('stopping', { signal: await ended });
  await plugin.close();
  podResources.close();
}
