import type { Hca, Inventory, PciFunction } from '../discovery/index.ts';
import type { ResourceName } from '../kubelet/index.ts';
import { cufileFooting, hcaDevices } from '../resources/index.ts';
import type { ClaimableConfig } from './claimable-pool.ts';
import { ATTRIBUTES } from './driver-name.ts';
import type { DeviceAttribute } from './resource-api.ts';

type Attributes = Readonly<Record<string, DeviceAttribute>>;

/** resource/v1, DeviceAttributeMaxValueLength. */
const VALUE_CHARS = 64;
/** semver.org 2.0.0, as far as firmware has it. */
const SEMVER = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$/;

/** What the machine does not say is not there: an empty value would match a selector. Too long a text is no fact either. */
function texts(given: Readonly<Record<string, string | null | undefined>>): Attributes {
  const said = Object.entries(given).flatMap(([name, value]) =>
    value === null || value === undefined || value === '' || value.length > VALUE_CHARS ? [] : [[name, value] as const],
  );
  return Object.fromEntries(said.map(([name, value]) => [name, { string: value }]));
}

function numbers(given: Readonly<Record<string, number | null | undefined>>): Attributes {
  const said = Object.entries(given).flatMap(([name, value]) =>
    value === null || value === undefined ? [] : [[name, { int: Math.floor(value) }] as const],
  );
  return Object.fromEntries(said);
}

function version(name: string, text: string | null): Attributes {
  return text !== null && SEMVER.test(text) && text.length <= VALUE_CHARS ? { [name]: { version: text } } : {};
}

/** Undefined where ports differ: what holds of one alone is not the device's. */
function common<T>(values: readonly T[]): T | undefined {
  return new Set(values).size === 1 ? values[0] : undefined;
}

function pciAttributes(pci: PciFunction): Attributes {
  return {
    ...texts({
      [ATTRIBUTES.pcieRoot]: pci.pcieRoot,
      [ATTRIBUTES.pciBusId]: pci.address,
      [ATTRIBUTES.vendor]: pci.vendor,
      [ATTRIBUTES.product]: pci.device,
      [ATTRIBUTES.driver]: pci.driver,
    }),
    ...numbers({ [ATTRIBUTES.numaNode]: pci.numaNode, [ATTRIBUTES.iommuGroup]: pci.iommuGroup }),
  };
}

function hcaAttributes({ name, ports, netDevices, firmware }: Hca): Attributes {
  const rates = ports.flatMap(({ rate }) => (rate === null ? [] : [rate.gigabitsPerSecond]));
  return {
    ...texts({
      [ATTRIBUTES.rdmaDevice]: name,
      [ATTRIBUTES.netDevice]: common(netDevices.map((device) => device.name)),
      [ATTRIBUTES.linkLayer]: common(ports.map(({ linkLayer }) => linkLayer)),
      [ATTRIBUTES.firmware]: firmware,
    }),
    ...numbers({
      [ATTRIBUTES.rate]: rates.length === 0 ? undefined : Math.max(...rates),
      [ATTRIBUTES.ports]: ports.length,
    }),
    ...version(ATTRIBUTES.firmwareVersion, firmware),
  };
}

/** What the machine has by the names that units know it by. */
export type MachineDevices = {
  readonly hcas: ReadonlyMap<string, Hca>;
  readonly nvme: ReadonlyMap<string, PciFunction>;
};

export function machineDevices(machine: Inventory): MachineDevices {
  return {
    hcas: new Map([...hcaDevices(machine)].map(([hca, device]) => [device, hca])),
    nvme: new Map(machine.nvme.flatMap(({ pci }) => (pci === null ? [] : [[pci.address, pci]]))),
  };
}

/** What is the same for all devices of a resource: at most four attributes. */
export function resourceAttributes(config: ClaimableConfig, resource: ResourceName, machine: Inventory): Attributes {
  return texts({
    [ATTRIBUTES.kind]: config.kind,
    [ATTRIBUTES.resource]: resource,
    ...(config.kind === 'gds'
      ? {
          [ATTRIBUTES.gdsMode]: cufileFooting(machine, config.settings).mode,
          [ATTRIBUTES.cufileVersion]: config.version,
        }
      : {}),
  });
}

/**
 * Pure. What is said of a device, of at most 32 that attributes and capacities may be together. Nothing that comes and goes
 * with its link: that is its health.
 */
export function deviceAttributes(
  kind: ClaimableConfig['kind'],
  device: string,
  { hcas, nvme }: MachineDevices,
): Attributes {
  const hca = kind === 'nvme-vfio' ? undefined : hcas.get(device);
  const pci = kind === 'nvme-vfio' ? nvme.get(device) : hca?.pci;
  return {
    ...(pci === undefined || pci === null ? {} : pciAttributes(pci)),
    ...(hca === undefined ? {} : hcaAttributes(hca)),
  };
}
