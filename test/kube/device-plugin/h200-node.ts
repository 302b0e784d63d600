import type { V1Container } from '@kubernetes/client-node';

export const MIB = 1 << 20;
/** Of one unit of nabustore.io/hugetlbfs-2Mi. */
export const UNIT_BYTES = 64 * MIB;

/** Of the network devices of its HCAs. */
export const ADDRESSES = {
  ibp26s0: '198.51.100.1',
  ibp60s0: '198.51.100.2',
  ibp156s0: '198.51.100.3',
  ibp188s0: '198.51.100.4',
};

/** The recorded node's InfiniBand HCAs by PCI address. */
export const HCAS: Readonly<
  Record<string, { readonly name: string; readonly address: string; readonly verbs: string }>
> = {
  '0000:1a:00.0': { name: 'mlx5_0', address: ADDRESSES.ibp26s0, verbs: 'uverbs0' },
  '0000:3c:00.0': { name: 'mlx5_1', address: ADDRESSES.ibp60s0, verbs: 'uverbs1' },
  '0000:9c:00.0': { name: 'mlx5_2', address: ADDRESSES.ibp156s0, verbs: 'uverbs2' },
  '0000:bc:00.0': { name: 'mlx5_3', address: ADDRESSES.ibp188s0, verbs: 'uverbs3' },
};

/** Where a container is told which of them it has. */
export const HCA_VARIABLE = 'NABUSTORE_RDMA_PCI_ADDRESSES';

export const RESOURCES = [
  { kind: 'rdma', select: { linkLayers: ['InfiniBand'] } },
  { kind: 'cufile', version: '1.13', slots: 4 },
  { kind: 'hugetlbfs', pageSize: '2Mi', unitBytes: UNIT_BYTES },
];

/** What the node then offers. */
export const OFFERED = { 'nabustore.io/rdma': '4', 'nabustore.io/cufile': '8', 'nabustore.io/hugetlbfs-2Mi': '8' };

/** Asks for so much, beside a little processor and memory. */
export const asking = (resources: Readonly<Record<string, string>>): Partial<V1Container> => ({
  resources: { limits: { cpu: '50m', memory: '32Mi', ...resources } },
});
