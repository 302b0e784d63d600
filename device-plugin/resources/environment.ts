import type { ResourceName } from '../kubelet/index.ts';

/**
 * 'NABUSTORE_RDMA_STORAGE_DEVICES' for nabustore.io/rdma-storage and 'DEVICES': a container may have several resources, and
 * the kubelet keeps one value of a name.
 */
export function variableOf(resource: ResourceName, what: string): string {
  const name = resource.slice(resource.indexOf('/') + 1).replace(/[^A-Za-z0-9]/g, '_');
  return `NABUSTORE_${name.toUpperCase()}_${what}`;
}
