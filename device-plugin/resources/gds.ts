import { type GdsConfig, type HcaSelector, resourceNameOf } from '../config/index.ts';
import { CufileContainers, type CufileParts } from './cufile-container.ts';
import { cufileFooting } from './cufile-mode.ts';
import { DeviceCheck } from './device-check.ts';
import { foreignHcaFile, hcaDeviceGrants, hcaEnvironment, hcasOf, hcaUnits, recheckHcas } from './rdma.ts';
import type { ResourceKind } from './resource-kind.ts';

/**
 * nabustore.io/gds[-NAME]: an HCA and cuFile for it as one unit, which is as healthy as both are. `earlier`: the selectors of
 * the resources before it that take HCAs.
 */
export function gdsKind(
  config: GdsConfig,
  earlier: readonly HcaSelector[],
  parts: CufileParts,
  check: DeviceCheck = new DeviceCheck(parts.paths),
): ResourceKind {
  const resource = resourceNameOf(config);
  const { deviceFiles } = config;
  const containers = new CufileContainers(resource, config, parts);
  return {
    resource,
    options: { preStartRequired: true, getPreferredAllocationAvailable: true },
    units(machine) {
      const { causes } = cufileFooting(machine, config.settings);
      const units = hcaUnits(config, earlier, machine);
      return causes.length === 0 ? units : units.map((unit) => ({ ...unit, causes: [...unit.causes, ...causes] }));
    },
    async grant(units, machine) {
      const hcas = hcasOf(units, machine, resource);
      const grant = await containers.grant(units, machine);
      return {
        ...grant,
        devices: [...hcaDeviceGrants(hcas, deviceFiles, machine, parts.paths), ...grant.devices],
        environment: { ...hcaEnvironment(hcas, resource), ...grant.environment },
      };
    },
    foreignFile: (units, machine, files) =>
      foreignHcaFile(hcasOf(units, machine, resource), machine, parts.paths, files),
    async prepare(units, machine, deadline) {
      const hcas = hcasOf(units, machine, resource);
      await deadline.race(recheckHcas(hcas, deviceFiles, machine, check, resource));
      await containers.prepare(units, new Set(units.map(({ device }) => device)), machine, deadline);
    },
  };
}
