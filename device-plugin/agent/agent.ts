import { join } from 'node:path';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import { ConfigFile, type PluginConfig } from '../config/index.ts';
import { KubeletPlugin } from '../kubelet/index.ts';
import type { MachineWatch } from '../machine/index.ts';
import { DeviceCheck, type HostPaths } from '../resources/index.ts';
import { kindsOf } from './kinds.ts';
import { ServedResources } from './served-resources.ts';

export type AgentOptions = {
  readonly configPath: string;
  /** The kubelet's own folder, /var/lib/kubelet. */
  readonly kubeletDir: string;
  readonly paths: HostPaths;
  readonly machine: MachineWatch & { start(): Promise<void>; close(): Promise<void> };
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

/** One node's device plugin, put together: what the file says of what the machine has, before the kubelet. */
export class DevicePluginAgent {
  readonly #options: AgentOptions;
  readonly #file: ConfigFile;
  readonly #kubelet: KubeletPlugin;
  readonly #resources: ServedResources;
  readonly #check: DeviceCheck;

  constructor(options: AgentOptions) {
    const { configPath, kubeletDir, clock, random, logger, machine, paths } = options;
    this.#options = options;
    this.#check = new DeviceCheck(paths);
    this.#file = new ConfigFile({ path: configPath, clock, logger: logger.child({ component: 'config' }) });
    this.#kubelet = new KubeletPlugin({ folder: join(kubeletDir, 'device-plugins'), clock, random, logger });
    this.#resources = new ServedResources({
      kubelet: this.#kubelet,
      machine,
      clock,
      logger,
      withheld: () => undefined,
      onHealthChange: () => undefined,
    });
  }

  /** Resolves when the resources are offered. Throws CONFIG_INVALID, and what the first look at the machine throws. */
  async start(): Promise<void> {
    const config = await this.#file.start();
    await this.#options.machine.start();
    await this.#kubelet.start();
    await this.#apply(config);
    this.#file.watch((changed) => void this.#apply(changed));
  }

  /** Ends every stream, takes the sockets away, stops looking. What pods hold stays theirs. */
  async close(): Promise<void> {
    await this.#file.close();
    await this.#kubelet.close();
    await this.#resources.close();
    await this.#options.machine.close();
  }

  async #apply(config: PluginConfig): Promise<void> {
    const kinds = kindsOf(config, { paths: this.#options.paths, check: this.#check });
    await this.#resources.apply(
      kinds.filter(({ config: { kind: _, ...rest } }) => !('mode' in rest) || rest.mode === 'plugin'),
      config.health,
    );
  }
}
