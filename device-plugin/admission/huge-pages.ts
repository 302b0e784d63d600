import { type AddOperation, pointer } from '../../common/admission/index.ts';
import { askedFor, type ContainerView, namesAskedFor, type PodView } from './pod-view.ts';
import { quantityText, wholeQuantity } from './quantity.ts';

export const HUGETLBFS = 'nabustore.io/hugetlbfs-';
export const HUGE_PAGES = 'hugepages-';

/** One size of pages that can be mounted, as the device plugin's configuration has it. */
export type HugetlbfsUnit = {
  readonly pageSize: '2Mi' | '1Gi';
  readonly unitBytes: number;
  /** Where the container sees it. */
  readonly mountPath: string;
};

/** A container that asks for units of one size, and the bytes that it can put into them. */
export type Mounting = {
  readonly unit: HugetlbfsUnit;
  readonly units: bigint;
  readonly bytes: bigint;
  /** The pages of this size that the container asks for itself; undefined: none are named. */
  readonly pages: bigint | undefined;
};

/** More than none is asked for; what is no whole number the API server refuses. */
export function unitsOf(container: Pick<ContainerView, 'resources'>, resource: string): bigint {
  return wholeQuantity(askedFor(container.resources, resource) ?? 0) ?? 0n;
}

export function mountingsOf(container: ContainerView, units: readonly HugetlbfsUnit[]): readonly Mounting[] {
  return units.flatMap((unit): Mounting[] => {
    const wanted = unitsOf(container, HUGETLBFS + unit.pageSize);
    if (wanted === 0n) return [];
    const pages = askedFor(container.resources, HUGE_PAGES + unit.pageSize);
    const bytes = wanted * BigInt(unit.unitBytes);
    return [{ unit, units: wanted, bytes, pages: pages === undefined ? undefined : wholeQuantity(pages) }];
  });
}

/** Sizes of which a container names pages, those that it will be given among them. */
export function pageSizesOf(container: ContainerView, units: readonly HugetlbfsUnit[]): readonly string[] {
  const named = namesAskedFor(container.resources)
    .filter((name) => name.startsWith(HUGE_PAGES) && unitsOf(container, name) > 0n)
    .map((name) => name.slice(HUGE_PAGES.length));
  return [...new Set([...named, ...mountingsOf(container, units).map(({ unit }) => unit.pageSize)])];
}

/** Pages of one size that the pod asks for as a whole (pod-level resources), for all of its containers. */
export function podPages({ spec }: PodView, pageSize: string): bigint | undefined {
  const asked = askedFor(spec.resources, HUGE_PAGES + pageSize);
  return asked === undefined ? undefined : wholeQuantity(asked);
}

/** Adds the pages that a container's mounts hold, where it names none and the pod has none as a whole. */
export function pagesPatch(
  pod: PodView,
  list: 'containers' | 'initContainers',
  at: number,
  container: ContainerView,
  units: readonly HugetlbfsUnit[],
): readonly AddOperation[] {
  const missing = mountingsOf(container, units).filter(({ unit }) => {
    const isNamed = askedFor(container.resources, HUGE_PAGES + unit.pageSize) !== undefined;
    return !isNamed && podPages(pod, unit.pageSize) === undefined;
  });
  if (missing.length === 0) return [];
  // Both: the defaults of the API server make a request of each limit, but only before it asks us.
  return (['limits', 'requests'] as const).flatMap((side) => {
    const amounts = missing.map(({ unit, bytes }) => [HUGE_PAGES + unit.pageSize, quantityText(bytes)] as const);
    const where = ['spec', list, at, 'resources', side] as const;
    if (container.resources?.[side] === undefined || container.resources[side] === null) {
      return [{ op: 'add', path: pointer(...where), value: Object.fromEntries(amounts) }];
    }
    return amounts.map(([name, value]): AddOperation => ({ op: 'add', path: pointer(...where, name), value }));
  });
}
