import type { Deadline } from '../../common/concurrency/index.ts';
import type { ContainerHolding, PodHolding, PodResources } from '../pod-resources/index.ts';
import type { Allocation, AllocationSource } from './allocations.ts';

/** What is ours: names of extended resources that begin so, and drivers of claims (DRA) that are called so or end so. */
const DOMAIN = 'nabustore.io';

const isOurDriver = (driver: string): boolean => driver === DOMAIN || driver.endsWith(`.${DOMAIN}`);

/** A device of a claim counts under the name of its driver: claims have no resource. Two containers may share a claim. */
function ownResources({ devices, claims }: ContainerHolding): readonly string[] {
  const plugged = devices.map(({ resource }) => resource).filter((resource) => resource.startsWith(`${DOMAIN}/`));
  const claimed = claims.flatMap((claim) => claim.devices.map(({ driver }) => driver)).filter(isOurDriver);
  return [...plugged, ...claimed];
}

/** Pure: one row for each container and resource of ours. */
export function podAllocations(pods: readonly PodHolding[]): readonly Allocation[] {
  return pods.flatMap(({ containers }) =>
    containers.flatMap((holding): Allocation[] => {
      const units = new Map<string, number>();
      for (const resource of ownResources(holding)) units.set(resource, (units.get(resource) ?? 0) + 1);
      const { namespace, pod, container } = holding;
      return [...units].map(([resource, count]) => ({ namespace, pod, container, resource, units: count }));
    }),
  );
}

export function allocationsOf(podResources: Pick<PodResources, 'list'>): AllocationSource {
  return { allocations: async (deadline: Deadline) => podAllocations(await podResources.list(deadline)) };
}
