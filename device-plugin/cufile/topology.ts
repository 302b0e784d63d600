import { isIPv4 } from 'node:net';
import type { CufileGpu, CufileHca } from './machine.ts';

type HcaAddresses = { readonly addresses: readonly string[]; readonly withoutAddress: readonly string[] };

/** mlx5_2 before mlx5_10, whatever the locale of the process. */
function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  const order = a.name.localeCompare(b.name, 'en', { numeric: true });
  if (order !== 0) return order;
  return a.name < b.name ? -1 : Number(a.name > b.name);
}

function ipv4Number(address: string): number {
  return address.split('.').reduce((number, part) => number * 256 + Number(part), 0);
}

/**
 * The IPv4 addresses of the HCAs, each once, in the order of HCA, network device and number, whatever the order in which
 * they come; and the HCAs that have none. cuFile knows an RDMA device by an IPv4 address alone.
 */
export function addressesOf(hcas: readonly CufileHca[]): HcaAddresses {
  const addresses = new Set<string>();
  const withoutAddress: string[] = [];
  for (const hca of [...hcas].sort(byName)) {
    const own = [...hca.netDevices]
      .sort(byName)
      .flatMap((device) => device.addresses.filter(isIPv4).sort((a, b) => ipv4Number(a) - ipv4Number(b)));
    if (own.length === 0) withoutAddress.push(hca.name);
    for (const address of own) addresses.add(address);
  }
  return { addresses: [...addresses], withoutAddress };
}

/** Those that have one of the addresses. */
export function hcasOf(hcas: readonly CufileHca[], addresses: readonly string[]): CufileHca[] {
  return hcas.filter((hca) => addressesOf([hca]).addresses.some((own) => addresses.includes(own)));
}

/** Routing through another GPU or host memory pays when some GPUs are beside an HCA and others are not. */
export function isRoutingUseful(hcas: readonly CufileHca[], gpus: readonly CufileGpu[]): boolean {
  const roots = new Set(hcas.map(({ pcieRoot }) => pcieRoot));
  const near = gpus.filter(({ pcieRoot }) => roots.has(pcieRoot)).length;
  return near > 0 && near < gpus.length;
}
