import { physicalName } from '../resources/index.ts';
import { type AllocatedClaim, type AllocationResult, claimName, claimRefused } from './allocated-claim.ts';
import type { ClaimRecord, HeldDevice } from './claim-record.ts';
import type { DraDevice } from './dra-device.ts';
import { SLOTS, UNHEALTHY } from './driver-name.ts';
import { quantityOf } from './quantity.ts';

/** One result of a claim and the device that it means. */
export type PlannedDevice = { readonly device: DraDevice; readonly held: HeldDevice };

/** resource/v1, DeviceToleration: an empty key with Exists matches every taint, an empty effect every effect. */
function isTolerated({ tolerations, adminAccess }: AllocationResult, taintValue: string): boolean {
  if (adminAccess) return true;
  return tolerations.some(({ key, operator, value, effect }) => {
    if (effect !== '' && effect !== 'NoSchedule') return false;
    if (operator === 'Exists') return key === '' || key === UNHEALTHY;
    return key === UNHEALTHY && value === taintValue;
  });
}

function slotsOf({ adminAccess, consumedCapacity, device: name }: AllocationResult): number | 'all' {
  if (adminAccess) return 0;
  const consumed = consumedCapacity?.[SLOTS];
  if (consumed !== undefined) return quantityOf(consumed) ?? 'all';
  return physicalName(name) === name ? 'all' : 1;
}

/** What is against a device for this result; undefined: nothing. */
function objection({ isHealthy, causes, device }: DraDevice, result: AllocationResult): string | undefined {
  const absolute = causes.find(({ code }) => code === 'mode' || code === 'absent');
  if (absolute !== undefined) return `${device}: ${absolute.detail}`;
  if (isHealthy || isTolerated(result, causes[0]?.code ?? 'recovering')) return undefined;
  return `${device} is unhealthy: ${causes[0]?.detail ?? 'it was until a moment ago'}`;
}

type Use = { readonly claim: string; readonly slots: number | 'all' };

function usesOf(device: string, records: readonly ClaimRecord[], uid: string): readonly Use[] {
  return records
    .filter(({ claim }) => claim.uid !== uid)
    .flatMap(({ claim, devices }) =>
      devices.flatMap((held) =>
        held.device === device && held.slots !== 0 ? [{ claim: claimName(claim), slots: held.slots }] : [],
      ),
    );
}

function fits(uses: readonly (number | 'all')[], slots: number): boolean {
  if (uses.includes('all')) return uses.filter((use) => use !== 0).length === 1;
  return uses.reduce<number>((sum, use) => sum + (use === 'all' ? 0 : use), 0) <= slots;
}

/**
 * Pure. Which devices a claim is to get, in the order of its results: the last look whether what the scheduler decided can be
 * had. Throws CLAIM_REFUSED for another node's pool, a device that is not there, that the device plugin gives out, that is
 * unhealthy (and neither tolerated nor for admin access), or of which other claims hold too much.
 */
export function planClaim(
  claim: AllocatedClaim,
  poolName: string,
  devices: readonly DraDevice[],
  records: readonly ClaimRecord[],
): readonly PlannedDevice[] {
  const planned: PlannedDevice[] = [];
  for (const result of claim.results) {
    const { request, pool, device: name, shareID: shareId } = result;
    if (pool !== poolName) throw claimRefused(claim.id, `pool ${pool} is not that of this node, ${poolName}`);
    const device = devices.find((one) => one.name === physicalName(name));
    if (device === undefined) throw claimRefused(claim.id, `this node has no device ${name} for claims`);
    const against = objection(device, result);
    if (against !== undefined) throw claimRefused(claim.id, against);
    const slots = slotsOf(result);
    const others = slots === 0 ? [] : usesOf(device.device, records, claim.id.uid);
    const own = planned.filter((one) => one.device === device).map(({ held }) => held.slots);
    if (!fits([...others.map((use) => use.slots), ...own, slots], device.units.length)) {
      const holders = [...new Set(others.map((use) => use.claim))].join(', ') || 'this claim itself';
      throw claimRefused(claim.id, `${name} has ${device.units.length} slots, held by ${holders}`);
    }
    planned.push({
      device,
      held: {
        request,
        pool,
        name,
        ...(shareId === undefined ? {} : { shareId }),
        device: device.device,
        resource: device.resource,
        slots,
      },
    });
  }
  return planned;
}
