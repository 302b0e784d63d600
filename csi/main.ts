import { parseAddress, type SocketAddress } from '../common/grpc/index.ts';
import { layoutOf } from '../common/layout/index.ts';
import { createLogger } from '../common/logging/index.ts';
import { realClock } from '../common/ports/index.ts';
import { ControlClient } from '../engine/control/index.ts';
import { type CsiConfig, nodeNameOf } from './config.ts';
import { controlOver } from './control-adapter.ts';
import { VolumeHostPool } from './host-adapter.ts';
import { CsiPlugin } from './plugin.ts';

/** CSI 1.12, "CSI_ENDPOINT": the variable that every plugin reads. */
function endpointOf(config: CsiConfig, env: NodeJS.ProcessEnv, fallback: string): SocketAddress {
  const named = config.endpoint === '' ? (env.CSI_ENDPOINT ?? '') : config.endpoint;
  return named === '' ? { kind: 'unix', path: fallback } : parseAddress(named);
}

/**
 * Reads of a device whose volume waits for storage nodes do not return before those do. With libuv's four threads, four of them would
 * stop every other file operation of the plugin.
 */
const FILE_THREADS = 64;

/** Runs the plugin until SIGTERM or SIGINT. */
export async function runCsi(config: CsiConfig, version: string): Promise<void> {
  process.env.UV_THREADPOOL_SIZE ??= String(FILE_THREADS);
  const layout = layoutOf(config.dir);
  const nodeName = nodeNameOf(config);
  const logger = createLogger({ level: config.logLevel, fields: { binary: 'csi', node: nodeName } });
  const control = new ControlClient(
    config.control === '' ? { kind: 'unix', path: layout.controlSocket } : parseAddress(config.control),
  );
  const host = new VolumeHostPool(layout, config.poolSize);
  const plugin = new CsiPlugin({
    config,
    nodeName,
    version,
    stateFolder: layout.csi,
    control: controlOver(control),
    host,
    clock: realClock,
    logger,
  });
  const ended = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
  await plugin.start(endpointOf(config, process.env, layout.csiSocket));
  logger.info('stopping', { signal: await ended });
  await plugin.close();
  control.close();
  host.close();
}
