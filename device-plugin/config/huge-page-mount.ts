import type { HugetlbfsConfig } from './resource-config.ts';

export const PAGE_BYTES = { '2Mi': 2 ** 21, '1Gi': 2 ** 30 } as const;

/** Where a container sees the mount. */
export function hugetlbfsPath({ mountPath, pageSize }: Pick<HugetlbfsConfig, 'mountPath' | 'pageSize'>): string {
  return mountPath ?? `/dev/hugepages-${pageSize}`;
}
