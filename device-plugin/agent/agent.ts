import { join } from 'node:path';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import { ConfigFile, type PluginConfig, RESOURCE_DOMAIN } from '../config/index.ts';
import { type KubeletObserver, KubeletPlugin } from '../kubelet/index.ts';
import type { MachineWatch } from '../machine/index.ts';
import { PodResources } from '../pod-resources/index.ts';
import type { HostPaths } from '../resources/index.ts';
import { allocationsFrom, type Figures, NO_FIGURES, serveFigures } from './figures.ts';
import { SharedParts } from './kind-parts.ts';
import { type ConfiguredKind, kindsOf } from './kinds.ts';
import { NodeLabelling } from './node-labelling.ts';
import { ServedResources } from './served-resources.ts';

export type AgentOptions = {
  readonly configPath: string;
  /** The kubelet's own folder, /var/lib/kubelet. */
  readonly kubeletDir: string;
  readonly paths: HostPaths;
  /** Where figures are served; undefined: nowhere. */
  readonly metricsAddress?: string | undefined;
  /** Where node-feature-discovery reads labels; undefined: none are written. */
  readonly featuresDir?: string | undefined;
  readonly version: string;
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
  readonly #podResources: PodResources;
  readonly #parts: SharedParts;
  readonly #resources: ServedResources;
  readonly #labels: NodeLabelling | undefined;
  #applying: Promise<void> = Promise.resolve();
  #figures: Figures = NO_FIGURES;
  #closeFigures: () => Promise<void> = async () => undefined;

  constructor(options: AgentOptions) {
    const { configPath, kubeletDir, clock, random, logger, machine, paths, featuresDir } = options;
    this.#options = options;
    this.#file = new ConfigFile({
      path: configPath,
      clock,
      logger: logger.child({ component: 'config' }),
      onRead: (outcome) => this.#figures.reloaded(outcome),
    });
    const observer: KubeletObserver = {
      allocated: (...call) => this.#figures.allocated(...call),
      registered: (...call) => this.#figures.registered(...call),
    };
    this.#kubelet = new KubeletPlugin({ folder: join(kubeletDir, 'device-plugins'), clock, random, logger, observer });
    this.#podResources = new PodResources({ socket: join(kubeletDir, 'pod-resources', 'kubelet.sock'), clock });
    const onHolders = (): void => this.#resources.refresh();
    this.#parts = new SharedParts({ paths, machine, podResources: this.#podResources, clock, logger, onHolders });
    this.#resources = new ServedResources({
      kubelet: this.#kubelet,
      machine,
      clock,
      logger,
      withheld: () => undefined,
      onHealthChange: (resource, cause) => this.#figures.healthChanged(resource, cause),
    });
    if (featuresDir !== undefined) this.#labels = new NodeLabelling({ folder: featuresDir, machine, clock, logger });
  }

  /**
   * Resolves when the resources are offered. Throws CONFIG_INVALID, UNAVAILABLE when the figures cannot be served, and what
   * the first look at the machine throws; `close` ends what was begun.
   */
  async start(): Promise<void> {
    await this.#serveFigures();
    const config = await this.#file.start();
    await this.#options.machine.start();
    await this.#kubelet.start();
    await this.#apply(config);
    this.#file.watch((changed) => this.#onChange(changed));
  }

  /** Ends every stream, takes the sockets away, stops looking. What pods hold stays theirs. */
  async close(): Promise<void> {
    await this.#file.close();
    await this.#applying;
    await this.#kubelet.close();
    await this.#resources.close();
    await this.#parts.close();
    await this.#labels?.close();
    await this.#options.machine.close();
    await this.#closeFigures();
    this.#podResources.close();
  }

  async #serveFigures(): Promise<void> {
    const { metricsAddress: address, machine, clock, logger, version } = this.#options;
    if (address === undefined) return;
    const sources = {
      pools: () => this.#resources.pools,
      isRegistered: (resource: Parameters<KubeletPlugin['state']>[0]) =>
        this.#kubelet.state(resource)?.isRegistered === true,
      hugePages: () => machine.inventory.hugePages,
      allocations: allocationsFrom(this.#podResources, RESOURCE_DOMAIN),
    };
    const unready = (): string | undefined => this.#unready();
    const { figures, close } = await serveFigures({ address, version, sources, unready, clock, logger });
    this.#figures = figures;
    this.#closeFigures = close;
  }

  /** Of use is a plugin whose resources the kubelet knows, all of them. */
  #unready(): string | undefined {
    for (const { resource } of this.#resources.pools) {
      const state = this.#kubelet.state(resource);
      if (state?.isRegistered !== true) return `${resource} is not registered: ${state?.cause ?? 'not yet'}`;
    }
    return undefined;
  }

  /** One after the other, the newest last. */
  #onChange(config: PluginConfig): void {
    this.#applying = this.#applying
      .then(() => this.#apply(config))
      .catch((err) => {
        this.#options.logger.error('the configuration cannot be put into force', { error: err });
      });
  }

  async #apply(config: PluginConfig): Promise<void> {
    await this.#parts.ready(config);
    const kinds = kindsOf(config, this.#parts.kinds);
    await this.#resources.apply(kinds.filter(isForPlugin), config.health);
    this.#labels?.use(config);
  }
}

/** What is given out by claims is not offered as an extended resource as well. */
function isForPlugin({ config }: ConfiguredKind): boolean {
  return !('mode' in config) || config.mode === 'plugin';
}
