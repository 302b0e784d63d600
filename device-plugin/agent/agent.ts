import { join } from 'node:path';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import { ConfigFile, type ResourceConfig, resourceNameOf } from '../config/index.ts';
import { type KubeletObserver, KubeletPlugin, type ResourceName } from '../kubelet/index.ts';
import type { MachineWatch } from '../machine/index.ts';
import { DeviceModes } from '../mode/index.ts';
import { PodResources } from '../pod-resources/index.ts';
import type { Cause, CauseCode, HostPaths } from '../resources/index.ts';
import { Claims, isClaimable } from './claims.ts';
import { DeviceOwners } from './device-owners.ts';
import { type Figures, NO_FIGURES, serveFigures } from './figures.ts';
import { SharedParts } from './kind-parts.ts';
import { type ConfiguredKind, kindsOf } from './kinds.ts';
import { kubeletFront } from './kubelet-front.ts';
import { NodeLabelling } from './node-labelling.ts';
import { ServedResources } from './served-resources.ts';

export type AgentOptions = {
  readonly nodeName: string;
  readonly configPath: string;
  /** The kubelet's own folder, /var/lib/kubelet. */
  readonly kubeletDir: string;
  readonly paths: HostPaths;
  /** Where figures are served; undefined: nowhere. */
  readonly metricsAddress?: string | undefined;
  /** Where node-feature-discovery reads labels; undefined: none are written. */
  readonly featuresDir?: string | undefined;
  /** Where the API server is, for claims; undefined: as the pod that this process is in. */
  readonly kubeconfig?: string | undefined;
  readonly version: string;
  readonly machine: MachineWatch & { start(): Promise<void>; close(): Promise<void> };
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Told of whatever leaves garbage behind: a call, a registration, another file. */
  readonly onWork?: () => void;
};

/** One node's device plugin, put together: what the file says of what the machine has, before the kubelet. */
export class DevicePluginAgent {
  readonly #options: AgentOptions;
  readonly #file: ConfigFile;
  readonly #kubelet: KubeletPlugin;
  readonly #podResources: PodResources;
  readonly #parts: SharedParts;
  readonly #modes: DeviceModes;
  readonly #owners: DeviceOwners;
  readonly #claims: Claims;
  /** As extended resources, and for claims. */
  readonly #resources: ServedResources;
  readonly #claimable: ServedResources;
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
      onRead: (outcome) => {
        this.#figures.reloaded(outcome);
        options.onWork?.();
      },
    });
    const observer: KubeletObserver = {
      allocated: (...call) => {
        this.#figures.allocated(...call);
        options.onWork?.();
      },
      registered: (...call) => {
        this.#figures.registered(...call);
        options.onWork?.();
      },
    };
    this.#kubelet = new KubeletPlugin({ folder: join(kubeletDir, 'device-plugins'), clock, random, logger, observer });
    this.#podResources = new PodResources({ socket: join(kubeletDir, 'pod-resources', 'kubelet.sock'), clock });
    const podResources = this.#podResources;
    const onHolders = (): void => this.#resources.refresh();
    this.#parts = new SharedParts({ paths, machine, podResources, clock, logger, onHolders });
    this.#claims = new Claims({
      ...options,
      kubeconfig: options.kubeconfig,
      onHolders: () => {
        this.#modes.look();
        options.onWork?.();
      },
      onMappedNames: () => this.#onChange(),
    });
    this.#modes = new DeviceModes({
      path: join(paths.stateDir, 'modes.json'),
      podResources,
      claimHolders: () => this.#claims.holders,
      clock,
      logger,
    });
    this.#owners = new DeviceOwners({ podResources, clock, logger });
    const common = {
      stateDir: paths.stateDir,
      machine,
      clock,
      logger,
      withheld: (device: string, config: ResourceConfig) => this.#withheld(device, config),
      onHealthChange: (resource: ResourceName, cause: CauseCode | undefined) =>
        this.#figures.healthChanged(resource, cause),
    };
    this.#resources = new ServedResources({ ...common, front: kubeletFront(this.#kubelet) });
    this.#claimable = new ServedResources({ ...common, front: this.#claims });
    if (featuresDir !== undefined) this.#labels = new NodeLabelling({ folder: featuresDir, machine, clock, logger });
  }

  /**
   * Resolves when the resources are offered. Throws CONFIG_INVALID, UNAVAILABLE when the figures cannot be served, and what
   * the first look at the machine throws; `close` ends what was begun.
   */
  async start(): Promise<void> {
    await this.#serveFigures();
    await this.#file.start();
    await this.#options.machine.start();
    await this.#modes.start();
    await this.#kubelet.start();
    await this.#owners.start();
    await this.#apply();
    this.#modes.watch(() => this.#refresh());
    this.#owners.watch(() => this.#refresh());
    this.#refresh(); // for what was heard of in between
    this.#file.watch(() => this.#onChange());
  }

  /** Ends every stream, takes the sockets away, stops looking. What pods hold stays theirs. */
  async close(): Promise<void> {
    await this.#file.close();
    await this.#applying;
    await Promise.all([this.#kubelet.close(), this.#claims.close()]);
    await Promise.all([this.#resources.close(), this.#claimable.close()]);
    await Promise.all([this.#modes.close(), this.#owners.close()]);
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
      pools: () => [...this.#resources.pools, ...this.#claimable.pools],
      isRegistered: (resource: Parameters<KubeletPlugin['state']>[0]) =>
        this.#kubelet.state(resource)?.isRegistered ?? this.#claims.isRegistered,
      hugePages: () => machine.inventory.hugePages,
    };
    const unready = (): string | undefined => this.#unready();
    const podResources = this.#podResources;
    const parts = { address, version, sources, podResources, unready, clock, logger };
    const { figures, close } = await serveFigures(parts);
    this.#figures = figures;
    this.#closeFigures = close;
  }

  /** Of use is a plugin whose resources the kubelet knows, all of them. */
  #unready(): string | undefined {
    for (const { resource } of this.#resources.pools) {
      const state = this.#kubelet.state(resource);
      if (state?.isRegistered !== true) return `${resource} is not registered: ${state?.cause ?? 'not yet'}`;
    }
    return this.#claims.problem;
  }

  #withheld(device: string, config: ResourceConfig): Cause | undefined {
    if (!isClaimable(config)) return undefined;
    const cause = this.#modes.withheld(device, config.mode);
    if (cause !== undefined || config.mode === 'dra') return cause;
    const slots = 'slots' in config ? config.slots : 1;
    return this.#owners.withheld(device, { resource: resourceNameOf(config), slots });
  }

  #refresh(): void {
    this.#resources.refresh();
    this.#claimable.refresh();
  }

  /** One after the other, the newest last. */
  #onChange(): void {
    this.#applying = this.#applying
      .then(() => this.#apply())
      .catch((err) => {
        this.#options.logger.error('the configuration cannot be put into force', { error: err });
      });
  }

  async #apply(): Promise<void> {
    const { config } = this.#file;
    await this.#parts.ready(config);
    await this.#claims.ready(config.resources);
    const kinds = kindsOf(config, this.#parts.kinds);
    // A device that changes its way is held back by its mode until nobody has it the other way.
    await this.#resources.apply(
      kinds.filter((one) => this.#isForKubelet(one)),
      config.health,
    );
    await this.#claimable.apply(
      kinds.filter(({ config: own }) => isClaimable(own) && own.mode === 'dra'),
      config.health,
    );
    this.#labels?.use(config);
  }

  #isForKubelet({ config, kind: { resource } }: ConfiguredKind): boolean {
    if (isClaimable(config) && config.mode === 'dra') return false;
    const deviceClass = this.#claims.mappedNames.get(resource);
    if (deviceClass === undefined) return true;
    this.#options.logger.warn('a DeviceClass maps the resource: it is not registered', { resource, deviceClass });
    return false;
  }
}
