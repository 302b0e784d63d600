import type { KubeletPlugin, ResourceName } from '../kubelet/index.ts';
import type { MachinePool } from '../resources/index.ts';
import type { Front } from './front.ts';

/** Extended resources: each pool is registered once, and tells of its changes itself. */
export function kubeletFront(kubelet: Pick<KubeletPlugin, 'serve' | 'withdraw'>): Front {
  const served = new Map<ResourceName, MachinePool>();
  return {
    offer(pool) {
      if (served.get(pool.resource) === pool) return;
      kubelet.serve(pool);
      served.set(pool.resource, pool);
    },
    async withdraw(resource) {
      await kubelet.withdraw(resource);
      served.delete(resource);
    },
  };
}
