import { createHash } from 'node:crypto';
import type { Deadline } from '../../common/concurrency/index.ts';
import { type CdiContent, type CdiSpecs, cdiKind, specName } from '../cdi/index.ts';
import { type HugetlbfsConfig, hugetlbfsPath, PAGE_BYTES, resourceNameOf } from '../config/index.ts';
import type { HugePages, Inventory } from '../discovery/index.ts';
import { deviceId } from '../kubelet/index.ts';
import { shortage } from './hugetlbfs-shortage.ts';
import type { PageHolders } from './page-holders.ts';
import type { ResourceKind } from './resource-kind.ts';
import type { Cause, Unit, UnitState } from './unit.ts';

/** Of the mounts of every size; one CdiSpecs of it serves all resources. */
export const HUGETLBFS_CDI_KIND = cdiKind('nabustore.io/hugetlbfs');

/** As mount(8) has them (hugetlbfs: pagesize=). */
const PAGE_OPTION = { '2Mi': '2M', '1Gi': '1G' } as const;

/** Of a node, and of the machine: more would not fit into one message to the kubelet with room to spare. */
const NODE_UNIT_LIMIT = 16_384;
const UNIT_LIMIT = 65_536;

export type HugetlbfsParts = {
  /** Of the kind above, started. */
  readonly specs: Pick<CdiSpecs, 'ensure' | 'nameOf'>;
  readonly holders: Pick<PageHolders, 'held' | 'granted'>;
};

type PagesOfNode = {
  readonly device: string;
  readonly numaNode: number | null;
  readonly pages: number;
  readonly free: number | null;
};

/** Pages that stay: surplus ones go as soon as they are given back. Null where the machine does not say. */
function pagesOf({ total, surplus }: Pick<HugePages, 'total' | 'surplus'>): number | null {
  return total === null ? null : Math.max(0, total - (surplus ?? 0));
}

/**
 * nabustore.io/hugetlbfs-2Mi, -1Gi: mounts of hugetlbfs that hold so much and no more. A unit is as many pages of one NUMA
 * node. The pages themselves are the kubelet's hugepages-*, which the container asks for beside it: the mount gives a
 * place to map them at and a bound, and takes none.
 */
export function hugetlbfsKind(config: HugetlbfsConfig, { specs, holders }: HugetlbfsParts): ResourceKind {
  const { pageSize, unitBytes } = config;
  const resource = resourceNameOf(config);
  const pagesPerUnit = unitBytes / PAGE_BYTES[pageSize];

  /** Gives a CDI name whose file is there. Written anew before each start, as /run is empty after the machine was. */
  async function mountFor(units: readonly Unit[], deadline: Deadline): Promise<string> {
    const name = mountName(config, units.length * unitBytes);
    await deadline.race(specs.ensure(specName(name), mountSpec(config, name, units.length * unitBytes)));
    return specs.nameOf(name);
  }

  return {
    resource,
    options: { preStartRequired: true, getPreferredAllocationAvailable: true },

    units(machine) {
      const pool = poolIn(machine, config);
      if (pool === undefined) return [];
      const found = pagesByNode(pool, pageSize);
      const limit = Math.min(NODE_UNIT_LIMIT, Math.floor(UNIT_LIMIT / found.length));
      const nodes = found.map((node) => ({ ...node, ids: idsOf(node, pagesPerUnit, limit) }));
      const held = holders.held(resource, `hugepages-${pageSize}`);
      const short = held === undefined ? undefined : shortage(pool, nodes, held, pagesPerUnit);
      return nodes.flatMap(({ device, numaNode, ids }) =>
        ids.map(
          (id): UnitState => ({
            id,
            device,
            numaNodes: numaNode === null ? [] : [numaNode],
            pcieRoot: null,
            causes: short?.ids.has(id) === true ? [taken(pageSize, short.free, short.needed)] : [],
          }),
        ),
      );
    },

    missing({ id, device }, machine) {
      const pool = poolIn(machine, config);
      const pages = pool && pagesByNode(pool, pageSize).find((node) => node.device === device)?.pages;
      if (pages === undefined) return { code: 'unreadable', detail: `${device} does not say how many pages it has` };
      const needed = (Number(id.slice(device.length + 1)) + 1) * pagesPerUnit;
      return { code: 'pages', detail: `${device} has ${pages} pages, and ${needed} would be needed up to this unit` };
    },

    async grant(units, _machine, deadline) {
      const name = await mountFor(units, deadline);
      holders.granted(
        resource,
        units.map(({ id }) => id),
      );
      return { devices: [], mounts: [], environment: {}, annotations: {}, cdiDevices: [name] };
    },

    async prepare(units, _machine, deadline) {
      await mountFor(units, deadline);
    },
  };
}

function poolIn(machine: Inventory, { pageSize }: HugetlbfsConfig): HugePages | undefined {
  return machine.hugePages.find(({ sizeBytes }) => sizeBytes === PAGE_BYTES[pageSize]);
}

/** Nodes that say how many pages they have; the whole machine as one where it has no nodes. */
function pagesByNode(pool: HugePages, pageSize: string): readonly PagesOfNode[] {
  const nodes =
    pool.perNode.length === 0
      ? [{ ...pool, numaNode: null, device: pageSize }]
      : pool.perNode.map((node) => ({ ...node, device: `${pageSize}-numa${node.numaNode}` }));
  return nodes.flatMap(({ device, numaNode, free, ...counts }) => {
    const pages = pagesOf(counts);
    return pages === null ? [] : [{ device, numaNode, free, pages }];
  });
}

/** Numbered within their node: when a node loses pages, its last units are gone and all others are what they were. */
function idsOf({ device, pages }: PagesOfNode, pagesPerUnit: number, limit: number): ReturnType<typeof deviceId>[] {
  const units = Math.min(limit, Math.floor(pages / pagesPerUnit));
  return Array.from({ length: units }, (_, slot) => deviceId(`${device}-${slot}`));
}

function taken(pageSize: string, free: number, needed: number): Cause {
  const detail = `${free} pages of ${pageSize} are free and not promised, ${needed} are needed for units that no pod holds`;
  return { code: 'pages', detail };
}

/** Says all that the mount is made of, so that a name means the same thing whatever the configuration becomes. */
function mountName({ pageSize, mountPath }: HugetlbfsConfig, bytes: number): string {
  const place = mountPath === undefined ? '' : `-${createHash('sha256').update(mountPath).digest('hex').slice(0, 16)}`;
  return `${pageSize}-${bytes}${place}`;
}

function mountSpec(config: HugetlbfsConfig, name: string, bytes: number): CdiContent {
  const { pageSize } = config;
  // Sticky and open to all, as /dev/shm is: whom the container runs as is not known here, and nobody else sees the mount.
  const options = ['nosuid', 'nodev', `pagesize=${PAGE_OPTION[pageSize]}`, `size=${bytes}`, 'mode=01777'];
  const mounts = [{ hostPath: 'nodev', containerPath: hugetlbfsPath(config), type: 'hugetlbfs', options }];
  return { devices: [{ name, containerEdits: { mounts } }] };
}
