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

/**
 * Pure. Whether a name, as the kubelet shows it, is that of a resource of ours of one of these kinds. By the name alone: the
 * configuration may have changed since pods were given it.
 */
export function isResourceOf(resource: string, kinds: readonly ResourceConfig['kind'][]): boolean {
  return kinds.some((kind) => {
    const whole = `${RESOURCE_DOMAIN}/${kind}`;
    return resource === whole || resource.startsWith(`${whole}-`);
  });
}
