import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { PluginConfig } from '../config/index.ts';
import { FeatureFile, nodeLabels } from '../labels/index.ts';
import type { MachineWatch } from '../machine/index.ts';

export type NodeLabellingOptions = {
  readonly folder: string;
  readonly machine: MachineWatch;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** Keeps the node's labels as the machine and the configuration are now. */
export class NodeLabelling {
  readonly #machine: MachineWatch;
  readonly #file: FeatureFile;
  #cufileVersions: readonly string[] = [];
  #isWatching = false;

  constructor({ folder, machine, clock, logger }: NodeLabellingOptions) {
    this.#machine = machine;
    this.#file = new FeatureFile({ folder, clock, logger });
  }

  use({ resources }: PluginConfig): void {
    this.#cufileVersions = resources.flatMap((one) => ('version' in one ? [one.version] : []));
    if (!this.#isWatching) this.#machine.watch(() => this.#update());
    this.#isWatching = true;
    this.#update();
  }

  /** The labels stay: an upgrade of the plugin must not take them off the node for a moment. */
  async close(): Promise<void> {
    await this.#file.close({ remove: false });
  }

  #update(): void {
    this.#file.update(nodeLabels(this.#machine.inventory, this.#cufileVersions));
  }
}
