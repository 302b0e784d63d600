import { createLogger } from '../common/logging/index.ts';
import { realClock, realRandom } from '../common/ports/index.ts';
import { DevicePluginAgent } from './agent/index.ts';
import { PolledMachine } from './agent/polled-machine.ts';
import { type DevicePluginOptions, nodeNameOf } from './options.ts';
import type { HostPaths } from './resources/index.ts';

export { DEVICE_PLUGIN_OPTIONS } from './options.ts';

function pathsOf(options: DevicePluginOptions): HostPaths {
  const { sysfsRoot, devRoot, procRoot, containerDevRoot, stateDir, stateDirInHost, cdiDir, udevDirInHost } = options;
  return {
    roots: { sysfsRoot, devRoot, procRoot },
    devRootInHost: containerDevRoot,
    stateDir,
    stateDirInHost: stateDirInHost === '' ? stateDir : stateDirInHost,
    cdiDir,
    udevDirInHost,
  };
}

/** Runs the device plugin until SIGTERM or SIGINT. Throws CONFIG_INVALID when the file of the resources is wrong. */
export async function runDevicePlugin(options: DevicePluginOptions, version: string): Promise<void> {
  const logger = createLogger({
    level: options.logLevel,
    fields: { binary: 'device-plugin', node: nodeNameOf(options) },
  });
  const ended = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
  const paths = pathsOf(options);
  const agent = new DevicePluginAgent({
    configPath: options.resources,
    kubeletDir: options.kubeletDir,
    paths,
    machine: new PolledMachine(paths.roots, realClock, logger),
    clock: realClock,
    random: realRandom,
    logger,
  });
  try {
    await agent.start();
    logger.info('running', { version });
    logger.info('stopping', { signal: await ended });
  } finally {
    await agent.close();
  }
}
