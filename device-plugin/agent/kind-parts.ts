import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { CdiSpecs } from '../cdi/index.ts';
import type { PluginConfig } from '../config/index.ts';
import type { MachineWatch } from '../machine/index.ts';
import type { PodResources } from '../pod-resources/index.ts';
import { DeviceCheck, HostNetAddresses, type HostPaths, HUGETLBFS_CDI_KIND, PageHolders } from '../resources/index.ts';
import type { KindParts } from './kinds.ts';

export type SharedPartsOptions = {
  readonly paths: HostPaths;
  readonly machine: MachineWatch;
  readonly podResources: PodResources;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What pods hold of huge pages has changed: the units may be other ones. */
  readonly onHolders: () => void;
};

/** What the kinds of all resources share. What costs something is begun by the first configuration that needs it. */
export class SharedParts {
  readonly kinds: KindParts;
  readonly #options: SharedPartsOptions;
  readonly #specs: CdiSpecs;
  readonly #holders: PageHolders;
  #hasHugePages = false;

  constructor(options: SharedPartsOptions) {
    const { paths, podResources, clock, logger } = options;
    this.#options = options;
    this.#specs = new CdiSpecs({ folder: paths.cdiDir, kind: HUGETLBFS_CDI_KIND });
    this.#holders = new PageHolders({ podResources, clock, logger });
    const addresses = new HostNetAddresses(paths.roots.sysfsRoot);
    this.kinds = {
      check: new DeviceCheck(paths),
      cufile: { paths, podResources, addresses, clock, logger },
      hugetlbfs: { specs: this.#specs, holders: this.#holders },
    };
  }

  /** To be called with each configuration before its kinds are used. */
  async ready({ resources }: PluginConfig): Promise<void> {
    if (this.#hasHugePages || !resources.some(({ kind }) => kind === 'hugetlbfs')) return;
    this.#hasHugePages = true;
    const { machine, logger, onHolders } = this.#options;
    try {
      await this.#specs.start();
    } catch (err) {
      // A pod that asks for a mount is refused with this cause; whatever needs no CDI goes on.
      logger.error('CDI specs cannot be written', { error: err });
    }
    this.#holders.watch(onHolders);
    machine.watch(() => this.#holders.nudge());
    this.#holders.start();
  }

  async close(): Promise<void> {
    await this.#holders.close();
  }
}
