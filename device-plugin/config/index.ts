export {
  type CufileConfig,
  type GdsConfig,
  type HugetlbfsConfig,
  type NvmeVfioConfig,
  type RdmaConfig,
  type ResourceConfig,
  resourceConfigSchema,
} from './resource-config.ts';
export type { HcaSelector, PciSelector } from './selector.ts';
