import { hugetlbfsPath, type PluginConfig } from '../config/index.ts';
import type { HugetlbfsUnit } from './huge-pages.ts';

/** The sizes of pages that a configuration of the device plugin offers. Pure. */
export function hugetlbfsUnits({ resources }: PluginConfig): readonly HugetlbfsUnit[] {
  return resources
    .filter((one) => one.kind === 'hugetlbfs')
    .map((one) => ({ pageSize: one.pageSize, unitBytes: one.unitBytes, mountPath: hugetlbfsPath(one) }));
}
