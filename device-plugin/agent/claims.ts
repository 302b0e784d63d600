import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random, Timer } from '../../common/ports/index.ts';
import type { ResourceConfig } from '../config/index.ts';
import type { ClaimableConfig, ClaimablePool, ClaimHolders, DraDriver } from '../dra/index.ts';
import type { KubeAccess } from '../kube-api/index.ts';
import type { ResourceName } from '../kubelet/index.ts';
import type { MachineWatch } from '../machine/index.ts';
import type { HostPaths, MachinePool } from '../resources/index.ts';
import type { Front } from './front.ts';
import type { ConfiguredKind } from './kinds.ts';

export type ClaimsOptions = {
  readonly nodeName: string;
  readonly kubeletDir: string;
  readonly paths: HostPaths;
  /** A kubeconfig; undefined: the service account of the pod that this process is in. */
  readonly kubeconfig: string | undefined;
  readonly machine: MachineWatch;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Claims hold something else now. */
  readonly onHolders: () => void;
  /** DeviceClasses map other names now. */
  readonly onMappedNames: () => void;
};

export function isClaimable(config: ResourceConfig): config is ClaimableConfig {
  return 'mode' in config;
}

const NOBODY: ClaimHolders = { devices: new Set(), isComplete: true };
const UNKNOWN: ClaimHolders = { devices: new Set(), isComplete: false };

/** What keeps claims from being served may pass: a full disk, another process of this node that is about to end. */
const RETRY_MS = 2000;

/**
 * Claims (DRA) on this node. Their driver is begun, and its code loaded, when a configuration first asks for it or when
 * claims of an earlier process are still to be ended; then it stays.
 */
export class Claims implements Front {
  readonly #options: ClaimsOptions;
  readonly #offered = new Map<ResourceName, ClaimablePool>();
  #driver: DraDriver | undefined;
  #problem: string | undefined;
  /** Before `ready` it is not known whether there are claims from before. */
  #isKnown = false;
  /** By the newest configuration. */
  #isAsked = false;
  #readying: Promise<void> = Promise.resolve();
  #retry: Timer | undefined;
  #isClosed = false;

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** Why claims cannot be served though they should be; undefined when they are, or are not asked for. */
  get problem(): string | undefined {
    const cause = this.#driver?.state.cause;
    return this.#problem ?? (cause === undefined ? undefined : `devices are not published for claims: ${cause}`);
  }

  /** Whether the kubelet sends claims here. */
  get isRegistered(): boolean {
    return this.#driver?.state.isRegistered === true;
  }

  get holders(): ClaimHolders {
    if (this.#driver !== undefined) return this.#driver.holders;
    return this.#isKnown ? NOBODY : UNKNOWN;
  }

  /** The names of resources that a DeviceClass maps: they are the scheduler's, not the device plugin's. */
  get mappedNames(): ReadonlyMap<string, string> {
    return this.#driver?.mappedNames ?? new Map();
  }

  /**
   * Resolves when the driver runs, if this configuration or a claim of before needs it. A failure is logged and kept, and it
   * is tried again for as long as it is needed.
   */
  ready(resources: readonly ResourceConfig[]): Promise<void> {
    this.#isAsked = resources.some((config) => isClaimable(config) && config.mode === 'dra');
    return this.#begin();
  }

  #begin(): Promise<void> {
    this.#readying = this.#readying.then(() => this.#tryToBegin());
    return this.#readying;
  }

  async #tryToBegin(): Promise<void> {
    this.#retry?.cancel();
    if (this.#driver !== undefined || this.#isClosed) return;
    try {
      const isNeeded = await this.#hasClaims();
      this.#isKnown = !isNeeded;
      if (isNeeded || this.#isAsked) await this.#start();
      if (this.#problem !== undefined) this.#options.onHolders();
      this.#problem = undefined;
    } catch (err) {
      const problem = `claims cannot be served: ${err instanceof Error ? err.message : String(err)}`;
      if (problem !== this.#problem) this.#options.logger.error('claims cannot be served', { error: err });
      this.#problem = problem;
      this.#retry = this.#options.clock.setTimer(() => this.#begin(), RETRY_MS, { background: true });
    }
  }

  async #start(): Promise<void> {
    const { DraDriver } = await import('../dra/index.ts');
    const driver = new DraDriver({ ...this.#options, access: () => this.#access() });
    await driver.start();
    driver.watchHolders(this.#options.onHolders);
    driver.watchMappedNames(this.#options.onMappedNames);
    this.#driver = driver;
    for (const claimable of this.#offered.values()) driver.serve(claimable);
  }

  offer(pool: MachinePool, { config, kind }: ConfiguredKind): void {
    if (!isClaimable(config)) throw new RangeError(`${kind.resource} is not for claims`);
    const claimable = { config, kind, pool, machine: this.#options.machine };
    this.#offered.set(kind.resource, claimable);
    this.#driver?.serve(claimable);
  }

  async withdraw(resource: ResourceName): Promise<void> {
    this.#offered.delete(resource);
    await this.#driver?.withdraw(resource);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#readying;
    this.#retry?.cancel();
    await this.#driver?.close();
  }

  /** Without the code of claims where there never were any: most nodes. */
  async #hasClaims(): Promise<boolean> {
    const { paths } = this.#options;
    const isNone = await access(join(paths.stateDir, 'dra')).then(
      () => false,
      (err) => Reflect.get(Object(err), 'code') === 'ENOENT',
    );
    if (isNone) return false;
    const { DraDriver } = await import('../dra/index.ts');
    return await DraDriver.isNeeded(paths);
  }

  async #access(): Promise<KubeAccess> {
    const { inClusterAccess, kubeconfigAccess } = await import('../kube-api/index.ts');
    const { kubeconfig } = this.#options;
    return kubeconfig === undefined
      ? await inClusterAccess({ clock: this.#options.clock })
      : await kubeconfigAccess(kubeconfig);
  }
}
