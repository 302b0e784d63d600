import type { Gpu, Hca, Inventory } from '../discovery/index.ts';
import type { ContainerHolding } from '../pod-resources/index.ts';
import { gpusGiven, gpusNear } from './cufile-gpus.ts';
import { isOnNodes, nodesText } from './cufile-places.ts';
import { hcaDevices } from './hca-selection.ts';
import { HCA_KINDS, slotHeld } from './slots.ts';
import type { Unit } from './unit.ts';

/** What a cufile.json is made for. */
export type CufileGiven = {
  readonly hcas: readonly Hca[];
  readonly gpus: readonly Gpu[];
  /** Sentences about what was taken for want of better knowledge; none where everything was shown. */
  readonly notes: readonly string[];
};

/** The container as the pod resources API shows it, or a clause that says why it does not. */
export type Shown = { readonly holding: ContainerHolding } | { readonly why: string };

const ACTIVE = 4; // IB_PORT_ACTIVE, Documentation/ABI/stable/sysfs-class-infiniband
/** Our own driver for claims: 'hca-0000-18-00-0', with '-slot-1' behind it for one of several. */
const CLAIM_DRIVER = 'devices.nabustore.io';
const CLAIM_DEVICE = /^hca-(.+?)(?:-slot-\d+)?$/;

/** As names of claims' devices spell it. */
function labelOf(device: string): string {
  return device.toLowerCase().replace(/[^a-z0-9]+/g, '-');
}

/** The HCAs that a container holds from us, by either way and as `hcaDevices` names them, spelled as labels. */
function heldHcas({ devices, claims }: ContainerHolding): ReadonlySet<string> {
  const held = devices.flatMap((unit) => slotHeld(unit, HCA_KINDS)?.device ?? []);
  const claimed = claims
    .flatMap((claim) => claim.devices)
    .flatMap(({ driver, device }) => (driver === CLAIM_DRIVER ? (CLAIM_DEVICE.exec(device)?.[1] ?? []) : []));
  return new Set([...held, ...claimed].map(labelOf));
}

/** Those that a machine has not are left out: PreStartContainer of their own resource says so. */
function hcasAt(machine: Inventory, labels: ReadonlySet<string>): readonly Hca[] {
  return [...hcaDevices(machine)].filter(([, device]) => labels.has(labelOf(device))).map(([hca]) => hca);
}

function activeHcasNear({ hcas }: Inventory, numaNodes: readonly number[]): readonly Hca[] {
  return hcas.filter(
    ({ pci, ports }) => pci !== null && isOnNodes(pci, numaNodes) && ports.some(({ state }) => state?.code === ACTIVE),
  );
}

function nodesOf(units: readonly Unit[]): readonly number[] {
  return [...new Set(units.flatMap(({ numaNodes }) => numaNodes))].sort((a, b) => a - b);
}

function gpusShown(holding: ContainerHolding, nodes: readonly number[], machine: Inventory): Omit<CufileGiven, 'hcas'> {
  const { gpus, unresolved } = gpusGiven(holding, machine);
  if (gpus.length === 0 && unresolved.length === 0) {
    const note = `the pod resources API shows no GPU of the container: the file is for those of ${nodesText(nodes)}`;
    return { gpus: gpusNear(machine, nodes), notes: [note] };
  }
  const all = new Set(gpus);
  const notes = unresolved.map(({ id, numaNodes }) => {
    const near = numaNodes.length === 0 ? nodes : numaNodes;
    for (const gpu of gpusNear(machine, near)) all.add(gpu);
    return `which GPU ${id} is cannot be told here: the file is for those of ${nodesText(near)}`;
  });
  return { gpus: [...all], notes };
}

/**
 * What the container that holds these units was given; where the API does not show it, the units' own HCAs (`own`: their
 * `device`, none for units that are no HCAs) or those of their NUMA nodes that have an active port, and the GPUs of
 * these nodes. Pure.
 */
export function cufileGiven(
  units: readonly Unit[],
  own: ReadonlySet<string>,
  shown: Shown,
  machine: Inventory,
): CufileGiven {
  const nodes = nodesOf(units);
  const ownLabels = new Set([...own].map(labelOf));
  if ('holding' in shown) {
    const hcas = hcasAt(machine, new Set([...heldHcas(shown.holding), ...ownLabels]));
    return { hcas, ...gpusShown(shown.holding, nodes, machine) };
  }
  const what = own.size > 0 ? `its HCAs and the GPUs of ${nodesText(nodes)}` : `all of ${nodesText(nodes)}`;
  return {
    hcas: own.size > 0 ? hcasAt(machine, ownLabels) : activeHcasNear(machine, nodes),
    gpus: gpusNear(machine, nodes),
    notes: [`${shown.why}: the file is for ${what}, of which the container may have less`],
  };
}
