import type { HcaSelector, PluginConfig, ResourceConfig } from '../config/index.ts';
import { type DeviceCheck, type HostPaths, type ResourceKind, rdmaKind } from '../resources/index.ts';

/** What kinds are made with, beside their configuration. */
export type KindParts = {
  readonly paths: HostPaths;
  readonly check: DeviceCheck;
};

/** A resource of the file. */
export type ConfiguredKind = {
  readonly config: ResourceConfig;
  readonly kind: ResourceKind;
  /** Equal for two files exactly when the resource is the same in both. */
  readonly signature: string;
};

/** The resources of a file, in its order. What an earlier one selects is not for a later one, in whichever mode they are. */
export function kindsOf({ resources }: PluginConfig, parts: KindParts): readonly ConfiguredKind[] {
  const hcaSelectors: HcaSelector[] = [];
  return resources.flatMap((config): readonly ConfiguredKind[] => {
    const earlier = [...hcaSelectors];
    const signature = JSON.stringify({ config, earlier });
    switch (config.kind) {
      case 'rdma':
        hcaSelectors.push(config.select);
        return [{ config, signature, kind: rdmaKind(config, parts.paths, earlier, parts.check) }];
      default:
        return [];
    }
  });
}
