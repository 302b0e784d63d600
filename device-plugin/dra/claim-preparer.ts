import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Deadline, KeyedMutex } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { systemCode, usingPath } from '../../common/fs/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { HostPaths } from '../resources/index.ts';
import { type AllocatedClaim, allocatedClaim, type ClaimId, claimName } from './allocated-claim.ts';
import { ClaimFiles } from './claim-files.ts';
import { type ClaimCufile, claimGrants } from './claim-grants.ts';
import { type PlannedDevice, planClaim } from './claim-plan.ts';
import type { ClaimRecord, HeldDevice } from './claim-record.ts';
import { ClaimRecords, checkedUid } from './claim-records.ts';
import type { ClaimablePool } from './claimable-pool.ts';
import { type DraDevice, draDevices, isPublished } from './dra-device.ts';
import { claimOverrides } from './parameters.ts';

/** One device of a prepared claim, for the kubelet. */
export type PreparedDevice = HeldDevice & { readonly cdiName: string };

/** What devices are held by claims, by PCI address. */
export type ClaimHolders = {
  readonly devices: ReadonlySet<string>;
  /** False where some claim holds what nobody can read: it may be any device. */
  readonly isComplete: boolean;
};

export type ClaimPreparerOptions = {
  readonly paths: Pick<HostPaths, 'cdiDir' | 'stateDir' | 'stateDirInHost'>;
  readonly poolName: string;
  /** By the name of their resource. */
  readonly pools: ReadonlyMap<string, ClaimablePool>;
  /** The claim as the API server has it; throws KUBE_NOT_FOUND. */
  readonly fetchClaim: (id: ClaimId, deadline: Deadline) => Promise<unknown>;
  readonly cufile: ClaimCufile;
  readonly cufileFolder: string;
  readonly bootId: string;
  readonly logger: Logger;
  /** A claim was prepared or ended. */
  readonly onChange?: () => void;
};

/** Whether some claim is written down as holding something. Throws PATH_UNUSABLE where nobody can tell. */
export async function hasClaims(stateDir: string): Promise<boolean> {
  const folder = folderIn(stateDir);
  const files = await usingPath(folder, () => readdir(folder)).catch((err: unknown) => {
    if (NabuError.is(err) && systemCode(err.cause) === 'ENOENT') return [];
    throw err;
  });
  return files.some((file) => file.endsWith('.json'));
}

function folderIn(stateDir: string): string {
  return join(stateDir, 'dra', 'claims');
}

/** The kubelet prepares a pod's claims at once, and as many pods as it starts. */
const WAITERS = 512;

/**
 * Prepares claims and ends them, each as often as the kubelet asks: it forgets what it prepared whenever it restarts
 * (Kubernetes 1.36, pkg/kubelet/cm/dra, newClaimInfoFromState). What a claim holds is written down before anything is made
 * for it and forgotten after everything was taken away, so that at any point of a crash the next call finds all there is to
 * finish or to undo.
 */
export class ClaimPreparer {
  readonly #options: ClaimPreparerOptions;
  readonly #records: ClaimRecords;
  readonly #files: ClaimFiles;
  /** One claim at a time: what one holds decides what the next may have. */
  readonly #turn = new KeyedMutex<'claims'>({ name: 'claims to prepare', maxWaiters: WAITERS });

  constructor(options: ClaimPreparerOptions) {
    this.#options = options;
    this.#records = new ClaimRecords(folderIn(options.paths.stateDir), options.logger);
    this.#files = new ClaimFiles(options.paths);
  }

  /** Reads what is held and makes again what is missing of it. Needs no API server. */
  async start(): Promise<void> {
    await this.#records.load();
    const held = new Set([...this.#records.all.map(({ claim }) => claim.uid), ...this.#records.unreadable]);
    await this.#files.start(held);
    for (const record of this.#records.all) {
      // After a boot the kubelet asks anew before it starts a container, and device files may have other numbers.
      if (record.bootId !== this.#options.bootId) await this.#files.remove(record.claim.uid);
      else await this.#files.make(record);
    }
  }

  get holders(): ClaimHolders {
    const devices = this.#records.all.flatMap((record) => record.devices.map(({ device }) => device));
    return { devices: new Set(devices), isComplete: this.#records.unreadable.size === 0 };
  }

  /** Throws CLAIM_REFUSED, KUBE_NOT_FOUND, what the device's kind throws, UNAVAILABLE without the API server. */
  async prepare(id: ClaimId, deadline: Deadline): Promise<readonly PreparedDevice[]> {
    checkedUid(id.uid);
    // Before its turn: an API server that hangs must not keep claims from ending, nor those that need no API server.
    const found = this.#known(id.uid) === undefined ? await this.#fetched(id, deadline) : undefined;
    return await this.#turn.run('claims', () => this.#prepare(id, found, deadline), deadline.signal);
  }

  /** Does nothing for a claim that holds nothing. */
  async unprepare({ uid }: Pick<ClaimId, 'uid'>, deadline: Deadline): Promise<void> {
    checkedUid(uid);
    await this.#turn.run('claims', () => this.#end(uid), deadline.signal);
    this.#options.onChange?.();
  }

  /** What was written down since the machine was booted, and holds still. */
  #known(uid: string): ClaimRecord | undefined {
    const known = this.#records.get(uid);
    return known?.bootId === this.#options.bootId && this.#hasOwnFiles(known) ? known : undefined;
  }

  /** A driver that is loaded again may give the numbers of device files to other devices. Of one that is away nobody knows. */
  #hasOwnFiles({ devices, grants }: ClaimRecord): boolean {
    const all = this.#devices();
    return devices.every(({ resource, device: name }, at) => {
      const pool = this.#options.pools.get(resource);
      const device = all.find((one) => one.resource === resource && one.device === name);
      if (pool === undefined || device === undefined || !isPublished(device)) return true;
      const files = grants[at]?.devices.map(({ hostPath }) => hostPath) ?? [];
      return pool.kind.foreignFile?.(device.units.slice(0, 1), pool.machine.inventory, files) === undefined;
    });
  }

  async #fetched(id: ClaimId, deadline: Deadline): Promise<AllocatedClaim> {
    return allocatedClaim(await this.#options.fetchClaim(id, deadline), id);
  }

  async #prepare(
    id: ClaimId,
    found: AllocatedClaim | undefined,
    deadline: Deadline,
  ): Promise<readonly PreparedDevice[]> {
    const known = this.#known(id.uid);
    if (known !== undefined) {
      await this.#files.make(known);
      return answer(known);
    }
    const claim = found ?? (await this.#fetched(id, deadline)); // it has ended in the meantime
    const record = await this.#recordOf(claim, await this.#plan(claim, deadline), deadline);
    deadline.throwIfExpired();
    await this.#records.put(record);
    await this.#files.make(record);
    this.#options.logger.info('claim prepared', {
      claim: claimName(claim.id),
      uid: claim.id.uid,
      devices: record.devices.map(({ device }) => device),
    });
    this.#options.onChange?.();
    return answer(record);
  }

  #devices(): readonly DraDevice[] {
    return [...this.#options.pools.values()].flatMap(draDevices);
  }

  async #plan(claim: AllocatedClaim, deadline: Deadline): Promise<readonly PlannedDevice[]> {
    const { poolName } = this.#options;
    try {
      return planClaim(claim, poolName, this.#devices(), this.#records.all);
    } catch (err) {
      if (!(await this.#forgetEnded(claim, deadline))) throw err;
      return planClaim(claim, poolName, this.#devices(), this.#records.all);
    }
  }

  /**
   * A kubelet that lost its state never says that a claim has ended. So whoever stands in the way is looked up: one that is
   * gone, or no longer allocated, holds nothing. Returns whether one was.
   */
  async #forgetEnded(claim: AllocatedClaim, deadline: Deadline): Promise<boolean> {
    const devices = this.#devices();
    const wanted = new Set(claim.results.map(({ device }) => device));
    const names = new Map(devices.map(({ name, device }) => [device, name]));
    let found = false;
    for (const record of this.#records.all) {
      const isInWay = record.devices.some(
        ({ device, name }) => wanted.has(name) || wanted.has(names.get(device) ?? ''),
      );
      if (record.claim.uid === claim.id.uid || !isInWay || !(await this.#hasEnded(record, deadline))) continue;
      this.#options.logger.warn('a claim that has ended was still held', { claim: claimName(record.claim) });
      await this.#end(record.claim.uid);
      found = true;
    }
    return found;
  }

  async #hasEnded({ claim }: ClaimRecord, deadline: Deadline): Promise<boolean> {
    try {
      allocatedClaim(await this.#options.fetchClaim(claim, deadline), claim);
      return false;
    } catch (err) {
      return NabuError.is(err, 'KUBE_NOT_FOUND', 'CLAIM_REFUSED');
    }
  }

  async #recordOf(claim: AllocatedClaim, planned: readonly PlannedDevice[], deadline: Deadline): Promise<ClaimRecord> {
    const { pools, cufile, cufileFolder, bootId, logger } = this.#options;
    const overrides = claimOverrides(claim, (at) => planned[at]?.device.kind === 'gds');
    const folderInHost = this.#files.folderInHost(claim.id.uid);
    const made = await claimGrants(claim, planned, { pools, folderInHost, cufileFolder, cufile, overrides, deadline });
    if (made.notes.length > 0)
      logger.warn('claim with reservations', { claim: claimName(claim.id), notes: made.notes });
    return {
      bootId,
      claim: claim.id,
      devices: planned.map(({ held }) => held),
      grants: [...made.grants],
      files: made.files,
    };
  }

  async #end(uid: string): Promise<void> {
    await this.#files.remove(uid);
    await this.#records.remove(uid);
  }
}

function answer({ claim, devices }: ClaimRecord): readonly PreparedDevice[] {
  return devices.map((device, at) => ({ ...device, cdiName: ClaimFiles.nameOf(claim.uid, at) }));
}
