import { createLogger } from '../common/logging/index.ts';
import { realClock, realRandom } from '../common/ports/index.ts';
import { DevicePluginAgent } from './agent/index.ts';
import { Footprint } from './footprint/index.ts';
import { LiveMachine } from './machine/index.ts';
import { type DevicePluginOptions, nodeNameOf } from './options.ts';
import { QuietHeap } from './quiet-heap.ts';
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

function textOrNone(text: string): string | undefined {
  return text === '' ? undefined : text;
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
  const heap = new QuietHeap(realClock);
  const agent = new DevicePluginAgent({
    nodeName: nodeNameOf(options),
    configPath: options.resources,
    kubeletDir: options.kubeletDir,
    paths,
    metricsAddress: textOrNone(options.metrics),
    featuresDir: textOrNone(options.featuresDir),
    kubeconfig: textOrNone(options.kubeconfig),
    version,
    machine: new LiveMachine({ roots: paths.roots, clock: realClock, logger, pollMs: options.pollMs }),
    clock: realClock,
    random: realRandom,
    logger,
    onWork: () => heap.used(),
  });
  const footprint = new Footprint({ clock: realClock, logger: logger.child({ component: 'footprint' }) });
  try {
    await agent.start();
    footprint.start();
    logger.info('running', { version });
    heap.used();
    logger.info('stopping', { signal: await ended });
  } finally {
    footprint.close();
    await agent.close();
  }
}
