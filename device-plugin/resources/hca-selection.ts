import { createHash } from 'node:crypto';
import type { HcaSelector, PciSelector } from '../config/index.ts';
import type { Hca, Inventory, PciFunction } from '../discovery/index.ts';
import type { Cause } from './unit.ts';

/** What is known of one field of a selector: `unknown` where the file that would tell cannot be read. */
export type Match = 'yes' | 'no' | 'unknown';

export type SelectedHca = {
  readonly hca: Hca;
  /** Its PCI address, or what tells it from others on the same function. */
  readonly device: string;
  /** Against it already, because it is not sure that it was meant. */
  readonly causes: readonly Cause[];
};

/** What leaves room for a slot in a device id, and is taken in names of CDI devices. */
const DEVICE = /^[A-Za-z0-9][\w.:-]{0,57}$/;

/** An inventory never changes, and is asked for each container that starts. */
const DEVICES = new WeakMap<readonly Hca[], ReadonlyMap<Hca, string>>();

/**
 * The name that units of an HCA have: its PCI address. RDMA devices without hardware have their own name, and where several
 * are on one function (sub-functions) all but the first have both; a name that fits nowhere is hashed. Over all HCAs of the machine, so that it does not depend
 * on what is selected.
 */
export function hcaDevices({ hcas }: Pick<Inventory, 'hcas'>): ReadonlyMap<Hca, string> {
  const known = DEVICES.get(hcas);
  if (known !== undefined) return known;
  const seen = new Set<string>();
  const devices = new Map(
    hcas.map((hca) => {
      const address = hca.pci?.address;
      const isFirst = address !== undefined && !seen.has(address);
      if (address !== undefined) seen.add(address);
      return [hca, isFirst ? address : fitting(address === undefined ? hca.name : `${address}.${hca.name}`)];
    }),
  );
  DEVICES.set(hcas, devices);
  return devices;
}

function fitting(device: string): string {
  return DEVICE.test(device) ? device : `hca-${createHash('sha256').update(device).digest('hex').slice(0, 16)}`;
}

/**
 * The HCAs that belong to a resource: selected by it and by none of those before it in the file. One whose files cannot be
 * read may be meant by any of them. It goes to the first that may mean it, with a cause against it, and so can never be
 * given out twice. Pure.
 */
export function selectHcas(
  machine: Pick<Inventory, 'hcas'>,
  select: HcaSelector,
  earlier: readonly HcaSelector[],
): readonly SelectedHca[] {
  const devices = hcaDevices(machine);
  return machine.hcas.flatMap((hca) => {
    const match = matchHca(hca, select);
    if (match === 'no' || earlier.some((other) => matchHca(hca, other) !== 'no')) return [];
    const causes: readonly Cause[] =
      match === 'yes' ? [] : [{ code: 'unreadable', detail: `what ${hca.name} is cannot be read` }];
    return [{ hca, device: devices.get(hca) ?? hca.name, causes }];
  });
}

export function matchHca(hca: Hca, select: HcaSelector): Match {
  const { linkLayers, interfaces } = select;
  const matches = [matchPci(hca.pci, select)];
  if (linkLayers !== undefined) {
    const layers = hca.ports.map(({ linkLayer }) => linkLayer);
    const isOne = layers.some((layer) => linkLayers.some((wanted) => wanted === layer));
    matches.push(isOne ? 'yes' : layers.length === 0 || layers.includes(null) ? 'unknown' : 'no');
  }
  if (interfaces !== undefined) {
    const names = [hca.name, ...hca.netDevices.map(({ name }) => name), ...hca.ports.map((port) => port.netDevice)];
    const patterns = interfaces.map(namePattern);
    matches.push(names.some((name) => name !== null && patterns.some((one) => one.test(name))) ? 'yes' : 'no');
  }
  return all(matches);
}

/** A device without a PCI function is not selected by anything that a PCI function has. */
export function matchPci(pci: PciFunction | null, select: PciSelector): Match {
  const { vendors, devices, drivers, pciAddresses, numaNodes } = select;
  const among = <T>(wanted: readonly T[] | undefined, value: T | null | undefined, ifNull: Match): Match => {
    if (wanted === undefined) return 'yes';
    if (pci === null) return 'no';
    if (value === null || value === undefined) return ifNull;
    return wanted.includes(value) ? 'yes' : 'no';
  };
  return all([
    among<string>(vendors, pci?.vendor, 'unknown'),
    among<string>(devices, pci?.device, 'unknown'),
    among(drivers, pci?.driver, 'no'),
    among<string>(pciAddresses, pci?.address, 'no'),
    among<number>(numaNodes, pci?.numaNode, 'no'),
  ]);
}

function all(matches: readonly Match[]): Match {
  if (matches.includes('no')) return 'no';
  return matches.includes('unknown') ? 'unknown' : 'yes';
}

/** '*' and '?' as in a shell; everything else stands for itself. */
function namePattern(pattern: string): RegExp {
  const source = pattern.replace(/[.*?]/g, (letter) => (letter === '*' ? '.*' : letter === '?' ? '.' : '\\.'));
  return new RegExp(`^${source}$`);
}
