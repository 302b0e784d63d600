import { type RdmaConfig, type ResourceConfig, resourceConfigSchema } from '../../device-plugin/config/index.ts';
import { discover, type Inventory } from '../../device-plugin/discovery/index.ts';
import type { HostPaths } from '../../device-plugin/resources/index.ts';
import { MACHINES, type MachineName } from '../fixtures/machines/index.ts';
import { isMarker, MachineTree } from './machine-tree.ts';

/** What is found in a tree whose device files are markers. */
export async function inventoryIn(tree: MachineTree): Promise<Inventory> {
  return await discover(tree.roots, { signal: AbortSignal.timeout(30_000), isCharDevice: isMarker });
}

/** What is found on a recorded machine, in order as it was recorded. */
export async function inventoryOf(name: MachineName): Promise<Inventory> {
  using tree = new MachineTree(MACHINES[name]);
  return await inventoryIn(tree);
}

/** Paths of a host on which everything is where it usually is, but for the trees that are read. */
export function pathsOf(roots?: HostPaths['roots'], more: Partial<HostPaths> = {}): HostPaths {
  return {
    roots: roots ?? { sysfsRoot: '/sys', devRoot: '/dev', procRoot: '/proc' },
    devRootInHost: '/dev',
    stateDir: '/var/lib/nabustore/device-plugin',
    stateDirInHost: '/var/lib/nabustore/device-plugin',
    cdiDir: '/var/run/cdi',
    udevDirInHost: '/run/udev',
    ...more,
  };
}

/** A resource of a configuration file with its defaults filled in. */
export function configOf<K extends ResourceConfig['kind']>(
  kind: K,
  fields: Readonly<Record<string, unknown>>,
): Extract<ResourceConfig, { kind: K }> {
  const config = resourceConfigSchema.parse({ kind, ...fields });
  return config as Extract<ResourceConfig, { kind: K }>;
}

export function rdmaConfig(fields: Readonly<Record<string, unknown>> = {}): RdmaConfig {
  return configOf('rdma', fields);
}
