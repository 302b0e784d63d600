import type { HcaSelector, PciSelector, PluginConfig, ResourceConfig } from '../config/index.ts';
import {
  type CufileParts,
  cufileKind,
  type DeviceCheck,
  gdsKind,
  type HugetlbfsParts,
  hugetlbfsKind,
  nvmeVfioKind,
  type ResourceKind,
  rdmaKind,
} from '../resources/index.ts';

/** What kinds are made with, beside their configuration. */
export type KindParts = {
  readonly check: DeviceCheck;
  readonly cufile: CufileParts;
  readonly hugetlbfs: HugetlbfsParts;
};

/** A resource of the file. */
export type ConfiguredKind = {
  readonly config: ResourceConfig;
  readonly kind: ResourceKind;
  /** Equal for two files exactly when the resource is the same in both. */
  readonly signature: string;
};

type Earlier = { readonly hcas: readonly HcaSelector[]; readonly nvme: readonly PciSelector[] };

/** The resources of a file, in its order. What an earlier one selects is not for a later one, in whichever mode they are. */
export function kindsOf({ resources }: PluginConfig, parts: KindParts): readonly ConfiguredKind[] {
  let earlier: Earlier = { hcas: [], nvme: [] };
  return resources.map((config) => {
    const configured = { config, kind: kindOf(config, earlier, parts), signature: signatureOf(config, earlier) };
    if (config.kind === 'rdma' || config.kind === 'gds') {
      earlier = { ...earlier, hcas: [...earlier.hcas, config.select] };
    } else if (config.kind === 'nvme-vfio') {
      earlier = { ...earlier, nvme: [...earlier.nvme, config.select] };
    }
    return configured;
  });
}

function kindOf(
  config: ResourceConfig,
  { hcas, nvme }: Earlier,
  { check, cufile, hugetlbfs }: KindParts,
): ResourceKind {
  switch (config.kind) {
    case 'rdma':
      return rdmaKind(config, cufile.paths, hcas, check);
    case 'gds':
      return gdsKind(config, hcas, cufile, check);
    case 'cufile':
      return cufileKind(config, cufile);
    case 'hugetlbfs':
      return hugetlbfsKind(config, hugetlbfs);
    case 'nvme-vfio':
      return nvmeVfioKind(config, cufile.paths, nvme, check);
  }
}

function signatureOf(config: ResourceConfig, { hcas, nvme }: Earlier): string {
  switch (config.kind) {
    case 'rdma':
    case 'gds':
      return JSON.stringify([config, hcas]);
    case 'nvme-vfio':
      return JSON.stringify([config, nvme]);
    default:
      return JSON.stringify(config);
  }
}
