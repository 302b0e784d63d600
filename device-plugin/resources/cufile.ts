import { type CufileConfig, resourceNameOf } from '../config/index.ts';
import type { Inventory } from '../discovery/index.ts';
import { CufileContainers, type CufileParts } from './cufile-container.ts';
import { usableGpus } from './cufile-gpus.ts';
import { cufileFooting } from './cufile-mode.ts';
import { nodeOf } from './cufile-places.ts';
import type { ResourceKind } from './resource-kind.ts';
import { slotsOf } from './slots.ts';

const NO_HCAS: ReadonlySet<string> = new Set();

/** A place that units are slots of: a NUMA node with a GPU, or the machine where nothing says which node it is. */
type Place = { readonly device: string; readonly numaNodes: readonly number[] };

function placesOf(machine: Inventory): readonly Place[] {
  const nodes = new Set(usableGpus(machine).map(({ pci }) => nodeOf(pci, machine)));
  const known = [...nodes].filter((node) => node !== undefined).sort((a, b) => a - b);
  const places: Place[] = known.map((node) => ({ device: `numa${node}`, numaNodes: [node] }));
  return nodes.has(undefined) ? [...places, { device: 'machine', numaNodes: [] }] : places;
}

/**
 * nabustore.io/cufile[-NAME]: leave to read into GPUs of one NUMA node by cuFile, with a cufile.json made for the container.
 * Its units are there with nvidia-fs and without; they are unhealthy where cuFile has no way that the settings allow.
 */
export function cufileKind(config: CufileConfig, parts: CufileParts): ResourceKind {
  const resource = resourceNameOf(config);
  const containers = new CufileContainers(resource, config, parts);
  return {
    resource,
    options: { preStartRequired: true, getPreferredAllocationAvailable: true },
    units(machine) {
      const { causes } = cufileFooting(machine, config.settings);
      return placesOf(machine).flatMap((place) => slotsOf({ ...place, pcieRoot: null, causes }, config.slots));
    },
    missing: ({ device }) => ({ code: 'absent', detail: `${device} has no GPU any more` }),
    grant: (units, machine) => containers.grant(units, machine),
    prepare: (units, machine, deadline) => containers.prepare(units, NO_HCAS, machine, deadline),
  };
}
