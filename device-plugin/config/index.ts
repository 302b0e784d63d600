export { ConfigFile, type ConfigFileOptions } from './config-file.ts';
export { hugetlbfsPath, PAGE_BYTES } from './huge-page-mount.ts';
export { parsePluginConfig } from './parse.ts';
export { type HealthConfig, type PluginConfig, pluginConfigSchema } from './plugin-config.ts';
export { readPluginConfig } from './read.ts';
export {
  type CufileConfig,
  type GdsConfig,
  type HugetlbfsConfig,
  type NvmeVfioConfig,
  type RdmaConfig,
  type ResourceConfig,
  resourceConfigSchema,
} from './resource-config.ts';
export { isResourceOf, RESOURCE_DOMAIN, resourceNameOf, shortNameOf } from './resource-names.ts';
export { allowedText, configNode, type SchemaNode } from './schema-node.ts';
export type { HcaSelector, PciSelector } from './selector.ts';
