import type { HcaPort, Inventory } from '../discovery/index.ts';
import { gdsModeOf } from '../gds/index.ts';
import { labelValue } from './label-value.ts';

export type NodeLabels = ReadonlyMap<string, string>;

const PREFIX = 'nabustore.io/';
const ACTIVE = 4; // IB_PORT_ACTIVE, Documentation/ABI/stable/sysfs-class-infiniband
const VFIO = 'vfio-pci';

const sizeName: ReadonlyMap<number, string> = new Map([
  [2 << 20, '2Mi'],
  [1 << 30, '1Gi'],
]);

function distinct(values: readonly (string | null)[]): string | undefined {
  const named = new Set(values.filter((value) => value !== null));
  return named.size === 0 ? undefined : [...named].sort().join('_');
}

/** Gb/s of the fastest port that is up, without its fraction. */
function fastest(ports: readonly HcaPort[]): string | undefined {
  const rates = ports.filter(({ state }) => state?.code === ACTIVE).map(({ rate }) => rate?.gigabitsPerSecond ?? 0);
  const most = Math.floor(Math.max(0, ...rates));
  return most === 0 ? undefined : String(most);
}

const count = (things: readonly unknown[]): string | undefined =>
  things.length === 0 ? undefined : String(things.length);

/**
 * What a scheduler may choose this node by, beside what it can count as a resource. What is not there has no label. Pure, in
 * the order of the names. `cufileVersions`: releases of cuFile that the node's configuration makes files for.
 */
export function nodeLabels(machine: Inventory, cufileVersions: readonly string[] = []): NodeLabels {
  const hcas = machine.hcas.filter(({ pci }) => pci !== null);
  const ports = hcas.flatMap((hca) => hca.ports);
  const mode = gdsModeOf(machine);
  const { nvidiaFs, nvme, dpus, hugePages } = machine;
  const said: Record<string, string | undefined> = {
    'cufile.version': [...cufileVersions].sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1),
    dpu: distinct(dpus.map(({ generation }) => generation)),
    'gds.mode': mode === 'none' ? undefined : mode,
    'nvidia-fs.version': nvidiaFs.moduleVersion ?? nvidiaFs.interfaceVersion ?? undefined,
    'nvme.count': count(nvme),
    'nvme.vfio-count': count(nvme.filter(({ pci }) => pci?.driver === VFIO)),
    'rdma.count': count(hcas),
    'rdma.link-layer': distinct(ports.map(({ linkLayer }) => linkLayer)),
    'rdma.rate-gbps': fastest(ports),
  };
  for (const { sizeBytes, total } of hugePages) {
    const size = sizeName.get(sizeBytes);
    if (size !== undefined && (total ?? 0) > 0) said[`hugepages-${size}`] = 'true';
  }
  const labels = new Map<string, string>();
  for (const name of Object.keys(said).sort()) {
    const value = labelValue(said[name] ?? '');
    if (value !== undefined) labels.set(PREFIX + name, value);
  }
  return labels;
}
