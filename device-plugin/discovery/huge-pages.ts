import { wholeNumber } from './attribute.ts';
import type { NumaNode } from './ids.ts';
import { eachInTurn, type Survey } from './survey.ts';

/** Pages of one size on one NUMA node, from node<n>/hugepages (Documentation/admin-guide/mm/hugetlbpage.rst). */
export type HugePagesOfNode = {
  readonly numaNode: NumaNode;
  readonly total: number | null;
  readonly free: number | null;
  readonly surplus: number | null;
};

/** Pages of one size, from /sys/kernel/mm/hugepages (Documentation/ABI/testing/sysfs-kernel-mm-hugepages). Counts of pages. */
export type HugePages = {
  readonly sizeBytes: number;
  readonly total: number | null;
  readonly free: number | null;
  /** Promised to mappings that have not touched them yet; they count as free too. */
  readonly reserved: number | null;
  readonly surplus: number | null;
  readonly overcommitLimit: number | null;
  readonly perNode: readonly HugePagesOfNode[];
};

const POOL = /^hugepages-[1-9]\d{0,9}kB$/;

/** 'hugepages-2048kB' is the pool of pages of 2 MiB; undefined for another name. Pure. */
export function pageSizeOf(pool: string): number | undefined {
  return POOL.test(pool) ? Number(pool.slice('hugepages-'.length, -'kB'.length)) * 1024 : undefined;
}

/** Whether a path, as findings have them, is one that `discoverHugePages` reads. Pure. */
export function isHugePagesPath(path: string): boolean {
  return /^\/sys\/(kernel\/mm|devices\/system\/node\/node\d+)\/hugepages(\/|$)/.test(path);
}

/** Every size that the kernel has, smallest first, also those of which there are no pages. */
export async function discoverHugePages(survey: Survey, nodes: readonly NumaNode[]): Promise<readonly HugePages[]> {
  const { sys } = survey;
  const pools = await survey.names(sys, 'kernel/mm/hugepages', POOL);
  const found = await eachInTurn(pools, async (pool): Promise<HugePages | null> => {
    const sizeBytes = pageSizeOf(pool);
    if (sizeBytes === undefined) return null;
    const at = `kernel/mm/hugepages/${pool}`;
    return {
      sizeBytes,
      total: await survey.value(sys, `${at}/nr_hugepages`, wholeNumber),
      free: await survey.value(sys, `${at}/free_hugepages`, wholeNumber),
      reserved: await survey.value(sys, `${at}/resv_hugepages`, wholeNumber),
      surplus: await survey.value(sys, `${at}/surplus_hugepages`, wholeNumber),
      overcommitLimit: await survey.value(sys, `${at}/nr_overcommit_hugepages`, wholeNumber),
      perNode: await eachInTurn(nodes, (node) => poolOfNode(survey, node, pool)),
    };
  });
  return [...found].sort((a, b) => a.sizeBytes - b.sizeBytes);
}

/** Null for a node without memory, which has no pools. */
async function poolOfNode(survey: Survey, numaNode: NumaNode, pool: string): Promise<HugePagesOfNode | null> {
  const { sys } = survey;
  const at = `devices/system/node/node${numaNode}/hugepages/${pool}`;
  if ((await survey.target(sys, at)) === null) return null;
  return {
    numaNode,
    total: await survey.value(sys, `${at}/nr_hugepages`, wholeNumber),
    free: await survey.value(sys, `${at}/free_hugepages`, wholeNumber),
    surplus: await survey.value(sys, `${at}/surplus_hugepages`, wholeNumber),
  };
}
