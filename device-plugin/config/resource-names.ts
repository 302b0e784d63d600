import { type ResourceName, resourceName } from '../kubelet/index.ts';
import type { ResourceConfig } from './resource-config.ts';

export const RESOURCE_DOMAIN = 'nabustore.io';

/** 'rdma-storage': what follows the slash. */
export function shortNameOf(config: ResourceConfig): string {
  if (config.kind === 'hugetlbfs') return `hugetlbfs-${config.pageSize}`;
  return config.name === undefined ? config.kind : `${config.kind}-${config.name}`;
}

/** 'nabustore.io/rdma-storage', as pods ask for it. */
export function resourceNameOf(config: ResourceConfig): ResourceName {
  return resourceName(`${RESOURCE_DOMAIN}/${shortNameOf(config)}`);
}
