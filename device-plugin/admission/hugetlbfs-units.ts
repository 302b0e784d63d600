import type { HugetlbfsConfig, PluginConfig } from '../config/index.ts';
import type { HugetlbfsUnit } from './huge-pages.ts';

/** What the device plugin mounts where the configuration does not say. */
const defaultPath = (pageSize: HugetlbfsConfig['pageSize']): string => `/dev/hugepages-${pageSize}`;

/** The sizes of pages that a configuration of the device plugin offers. Pure. */
export function hugetlbfsUnits({ resources }: PluginConfig): readonly HugetlbfsUnit[] {
  return resources
    .filter((one) => one.kind === 'hugetlbfs')
    .map(({ pageSize, unitBytes, mountPath }) => ({
      pageSize,
      unitBytes,
      mountPath: mountPath ?? defaultPath(pageSize),
    }));
}
