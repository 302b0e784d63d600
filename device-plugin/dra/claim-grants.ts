import type { Deadline } from '../../common/concurrency/index.ts';
import type { AllocatedClaim } from './allocated-claim.ts';
import { claimRefused } from './allocated-claim.ts';
import type { PlannedDevice } from './claim-plan.ts';
import type { HeldGrant } from './claim-record.ts';
import type { ClaimablePool } from './claimable-pool.ts';
import type { ClaimOverrides } from './parameters.ts';

/** What the containers of a claim get: for each device, and in the claim's folder. */
export type ClaimGrants = {
  readonly grants: readonly HeldGrant[];
  /** By name. */
  readonly files: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
};

export type CufileRequest = {
  readonly claim: AllocatedClaim;
  readonly planned: readonly PlannedDevice[];
  readonly pools: ReadonlyMap<string, ClaimablePool>;
  readonly overrides: ClaimOverrides;
  readonly deadline: Deadline;
};

/** Makes the cufile.json of a claim that has devices of kind gds. */
export type ClaimCufile = (
  request: CufileRequest,
) => Promise<{ readonly files: Readonly<Record<string, string>>; readonly notes: readonly string[] }>;

export type GrantOptions = {
  readonly pools: ReadonlyMap<string, ClaimablePool>;
  /** The claim's folder on the host. */
  readonly folderInHost: string;
  /** Where a container of kind gds finds the folder of its cufile.json. */
  readonly cufileFolder: string;
  readonly cufile: ClaimCufile;
  readonly overrides: ClaimOverrides;
  readonly deadline: Deadline;
};

async function grantOf({ device }: PlannedDevice, claim: AllocatedClaim, options: GrantOptions): Promise<HeldGrant> {
  const { pools, folderInHost, cufileFolder, deadline } = options;
  const source = pools.get(device.resource);
  const [unit] = device.units;
  if (source === undefined || unit === undefined) {
    throw claimRefused(claim.id, `${device.resource} is not given out by claims any more`);
  }
  const { kind, machine } = source;
  // The last look. Kind gds has one only together with the file that it makes for a container of the device plugin.
  if (device.kind !== 'gds') await kind.prepare?.([unit], machine.inventory, deadline);
  const grant = await deadline.race(Promise.resolve(kind.grant([unit], machine.inventory, deadline)));
  return {
    devices: [...grant.devices],
    // The folder of a unit is that of one container of the device plugin; a claim has its own.
    mounts: grant.mounts.map((mount) =>
      mount.containerPath === cufileFolder ? { ...mount, hostPath: folderInHost } : mount,
    ),
    environment: { ...grant.environment },
  };
}

/** Variables that name devices hold those of all devices of a claim: a runtime keeps one value of a name. */
function joined(grants: readonly HeldGrant[]): readonly HeldGrant[] {
  const values = new Map<string, Set<string>>();
  for (const { environment } of grants) {
    for (const [name, value] of Object.entries(environment)) {
      const own = values.get(name) ?? new Set<string>();
      values.set(name, own.add(value));
    }
  }
  return grants.map((grant) => ({
    ...grant,
    environment: Object.fromEntries(
      Object.keys(grant.environment).map((name) => [name, [...(values.get(name) ?? [])].join(',')]),
    ),
  }));
}

/**
 * What the kinds of a claim's resources grant, one device after the other. Throws what they throw: DEVICE_UNUSABLE,
 * CUFILE_UNAVAILABLE and the like.
 */
export async function claimGrants(
  claim: AllocatedClaim,
  planned: readonly PlannedDevice[],
  options: GrantOptions,
): Promise<ClaimGrants> {
  const grants: HeldGrant[] = [];
  for (const one of planned) grants.push(await grantOf(one, claim, options));
  const { pools, overrides, deadline } = options;
  const hasCufile = planned.some(({ device }) => device.kind === 'gds');
  const { files, notes } = hasCufile
    ? await options.cufile({ claim, planned, pools, overrides, deadline })
    : { files: {}, notes: [] };
  return { grants: joined(grants), files, notes };
}
