import type { ResourceName } from '../kubelet/index.ts';
import { type Cause, claimDeviceName, type UnitState } from '../resources/index.ts';
import { deviceAttributes, machineDevices, resourceAttributes } from './attributes.ts';
import type { ClaimableConfig, ClaimablePool } from './claimable-pool.ts';
import type { DeviceAttribute } from './resource-api.ts';

/** A physical device that claims may have. */
export type DraDevice = {
  /** As claims and ResourceSlices name it. */
  readonly name: string;
  /** A PCI address. */
  readonly device: string;
  readonly resource: ResourceName;
  readonly kind: ClaimableConfig['kind'];
  /** Its units in the order of their slots: how many claims may share it. */
  readonly units: readonly UnitState[];
  readonly attributes: Readonly<Record<string, DeviceAttribute>>;
  readonly isHealthy: boolean;
  /** Why it is not; empty while it recovers. */
  readonly causes: readonly Cause[];
};

function causesOf(units: readonly UnitState[]): readonly Cause[] {
  const byText = new Map(
    units.flatMap(({ causes }) => causes).map((cause) => [`${cause.code} ${cause.detail}`, cause]),
  );
  return [...byText.values()];
}

/** Pure. The devices of a resource on a machine, in the order of its units. */
export function draDevices({ config, pool, machine }: ClaimablePool): readonly DraDevice[] {
  const healthy = new Set(pool.devices().flatMap(({ id, healthy: isHealthy }) => (isHealthy ? [id] : [])));
  const byDevice = new Map<string, UnitState[]>();
  for (const unit of pool.units) {
    const units = byDevice.get(unit.device);
    if (units === undefined) byDevice.set(unit.device, [unit]);
    else units.push(unit);
  }
  const known = machineDevices(machine.inventory);
  const common = resourceAttributes(config, pool.resource, machine.inventory);
  return [...byDevice].map(([device, units]) => ({
    name: claimDeviceName(config.kind, device),
    device,
    resource: pool.resource,
    kind: config.kind,
    units,
    attributes: { ...common, ...deviceAttributes(config.kind, device, known) },
    isHealthy: units.every(({ id }) => healthy.has(id)),
    causes: causesOf(units),
  }));
}

/** Whether it is there and ours to publish: one that is gone has nothing to say, one of the other mode is not ours. */
export function isPublished({ causes }: DraDevice): boolean {
  return !causes.some(({ code }) => code === 'absent' || code === 'mode');
}
