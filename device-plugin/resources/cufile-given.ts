import type { Gpu, Hca, Inventory } from '../discovery/index.ts';
import type { ContainerHolding } from '../pod-resources/index.ts';
import { claimDeviceName, physicalName } from './claim-device-name.ts';
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
const CLAIM_DRIVER = 'devices.nabustore.io';

type Held = {
  /** As `hcaDevices` names them. */
  readonly devices: ReadonlySet<string>;
  /** As claims name them. */
  readonly claimed: ReadonlySet<string>;
};

/** The HCAs that a container holds from us, by either way, besides its own. */
function heldHcas({ devices, claims }: ContainerHolding, own: ReadonlySet<string>): Held {
  const claimed = claims
    .flatMap((claim) => claim.devices)
    .flatMap(({ driver, device }) => (driver === CLAIM_DRIVER ? [physicalName(device)] : []));
  return {
    devices: new Set([...own, ...devices.flatMap((unit) => slotHeld(unit, HCA_KINDS)?.device ?? [])]),
    claimed: new Set(claimed),
  };
}

/** Those that a machine has not are left out: PreStartContainer of their own resource says so. */
function hcasAt(machine: Inventory, { devices, claimed }: Held): readonly Hca[] {
  return [...hcaDevices(machine)]
    .filter(([, device]) => devices.has(device) || (claimed.size > 0 && claimed.has(claimDeviceName('rdma', device))))
    .map(([hca]) => hca);
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
  if ('holding' in shown) {
    const hcas = hcasAt(machine, heldHcas(shown.holding, own));
    return { hcas, ...gpusShown(shown.holding, nodes, machine) };
  }
  const what = own.size > 0 ? `its HCAs and the GPUs of ${nodesText(nodes)}` : `all of ${nodesText(nodes)}`;
  return {
    hcas: own.size > 0 ? hcasAt(machine, { devices: own, claimed: new Set() }) : activeHcasNear(machine, nodes),
    gpus: gpusNear(machine, nodes),
    notes: [`${shown.why}: the file is for ${what}, of which the container may have less`],
  };
}
