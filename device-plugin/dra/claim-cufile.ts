import type { Deadline } from '../../common/concurrency/index.ts';
import { cufileJson, mergeTrees } from '../cufile/index.ts';
import type { Inventory } from '../discovery/index.ts';
import type { ContainerHolding } from '../pod-resources/index.ts';
import {
  CUFILE_NAME,
  cufileGiven,
  cufileGpus,
  cufileHcas,
  modeAsGranted,
  type NetAddresses,
  NOTES_NAME,
} from '../resources/index.ts';
import { type AllocatedClaim, type AllocationResult, claimName, claimRefused } from './allocated-claim.ts';
import type { ClaimCufile } from './claim-grants.ts';
import type { PlannedDevice } from './claim-plan.ts';
import type { ClaimablePool } from './claimable-pool.ts';
import type { PlacedDevice } from './gpu-places.ts';
import type { ClaimOverrides } from './parameters.ts';

export type ClaimCufileOptions = {
  readonly addresses: NetAddresses;
  /** Where devices of other drivers are. */
  readonly placesOf: (others: readonly AllocationResult[], deadline: Deadline) => Promise<readonly PlacedDevice[]>;
};

/** NVIDIA's name for what its plugin hands out by PCI address as well: what a reader of holdings knows a GPU by. */
const GPU_RESOURCE = 'nvidia.com/gpu';

/** The claim as the pod resources API would show its container: that of the kubelet knows it only when it has started. */
function holdingOf(
  { id, results }: AllocatedClaim,
  others: readonly PlacedDevice[],
  machine: Inventory,
): ContainerHolding {
  const isGpu = (address: string | undefined): address is string =>
    machine.gpus.some(({ pci }) => pci.address === address);
  const placed = others.map(({ pciAddress }) => pciAddress).filter(isGpu);
  const unplaced = others.filter(({ pciAddress }) => pciAddress === undefined).map(({ result }) => result);
  return {
    namespace: id.namespace,
    pod: '',
    container: '',
    devices: placed.map((address) => ({ resource: GPU_RESOURCE, id: address, numaNodes: [] })),
    claims: [
      {
        namespace: id.namespace,
        name: id.name,
        devices: [...results, ...unplaced].map(({ driver, pool, device, shareID }) => ({
          driver,
          pool,
          device,
          shareId: shareID,
        })),
      },
    ],
  };
}

/** The one resource of kind gds that a claim has devices of: cuFile reads one file, made by one configuration. */
function gdsPool(
  claim: AllocatedClaim,
  planned: readonly PlannedDevice[],
  pools: ReadonlyMap<string, ClaimablePool>,
): ClaimablePool {
  const resources = [...new Set(planned.flatMap(({ device }) => (device.kind === 'gds' ? [device.resource] : [])))];
  const [resource = '', other] = resources;
  if (other !== undefined) {
    throw claimRefused(
      claim.id,
      `it has devices of ${resource} and ${other}, each with a ${CUFILE_NAME} of its own: ask for one`,
    );
  }
  const pool = pools.get(resource);
  if (pool === undefined) throw claimRefused(claim.id, `${resource} is not given out by claims any more`);
  return pool;
}

/** Of one claim there is one file, whichever of its requests a container has: so what they say has to agree. */
function overridesOf(claim: AllocatedClaim, planned: readonly PlannedDevice[], given: ClaimOverrides): unknown {
  const texts = new Map(
    planned.flatMap(({ device }, at) =>
      device.kind === 'gds' ? [[JSON.stringify(given[at] ?? []), given[at] ?? []]] : [],
    ),
  );
  const [first = [], other] = [...texts.values()];
  if (other !== undefined) {
    throw claimRefused(claim.id, `its requests have different parameters, and its containers share one ${CUFILE_NAME}`);
  }
  return first.reduce<unknown>((merged, part) => mergeTrees(Object(merged), part), {});
}

/**
 * The cufile.json of a claim: for all of its HCAs, and for its GPUs where the claim has some (of whatever driver that
 * publishes their PCI addresses); else for the GPUs of its HCAs' NUMA nodes, which its notes say.
 */
export function claimCufile({ addresses, placesOf }: ClaimCufileOptions): ClaimCufile {
  return async ({ claim, planned, pools, overrides, deadline }) => {
    const { config, machine } = gdsPool(claim, planned, pools);
    if (config.kind !== 'gds') throw new RangeError(`${config.kind} has no ${CUFILE_NAME}`);
    const { inventory } = machine;
    const own = overridesOf(claim, planned, overrides);
    const holding = holdingOf(claim, await placesOf(claim.others, deadline), inventory);
    const hasGpus = holding.devices.length > 0 || claim.others.some(({ driver }) => driver === 'gpu.nvidia.com');
    const shown = hasGpus ? { holding } : { why: 'the claim has no GPU' };
    const units = planned.flatMap(({ device }) => device.units.slice(0, 1));
    const hcas = planned.flatMap(({ device }) => (device.kind === 'nvme-vfio' ? [] : [device.device]));
    const given = cufileGiven(units, new Set(hcas), shown, inventory);
    const mode = modeAsGranted(undefined, inventory, config.settings);
    const file = cufileJson(
      {
        mode,
        cufileVersion: config.version,
        hcas: await deadline.race(cufileHcas(given.hcas, addresses)),
        gpus: cufileGpus(given.gpus),
      },
      config.settings,
      mergeTrees(config.overrides, Object(own)),
    );
    const notes = [...given.notes, ...file.notes];
    const told = [
      `${CUFILE_NAME} was made for claim ${claimName(claim.id)}.`,
      `Mode: ${mode}.`,
      `HCAs: ${given.hcas.map(({ name }) => name).join(', ') || 'none'}.`,
      `GPUs: ${given.gpus.map(({ pci }) => pci.address).join(', ') || 'none'}.`,
      ...notes.map((note) => `Note: ${note}.`),
    ];
    return { files: { [NOTES_NAME]: `${told.join('\n')}\n`, [CUFILE_NAME]: file.text }, notes };
  };
}
