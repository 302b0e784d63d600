import { KeyedMutex } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import { hexOf, parsePolicy, type VolumeId, volumeId } from '../blob/index.ts';
import { assertPolicyFits, type ClusterMap, homeSet, type PlacementRules, Ring } from '../placement/index.ts';
import { type Capacity, CapacityLedger } from './capacity-ledger.ts';
import type { ResourceStore } from './resource-store.ts';
import { VolumeDeleter } from './volume-deleter.ts';
import type { VolumeReaper } from './volume-reaper.ts';
import type { VolumeRecord, VolumeSpec } from './volume-record.ts';
import { checkedSize, checkName, differenceFrom, parseVolumeSpec, type VolumeRequest } from './volume-spec.ts';
import { type StoredVolume, VolumeTable } from './volume-table.ts';

const HISTORY = { kind: 'cluster', id: 'history' } as const;
const SCAN_PAGE = 500;
const MAX_SAME_NAME = 4096;
export const MAX_LIST = 1000;

export type VolumesOptions = {
  readonly store: ResourceStore;
  readonly map: () => ClusterMap;
  readonly reaper: VolumeReaper;
  readonly defaultPolicy: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

function rulesOf(spec: VolumeSpec): PlacementRules {
  return { failureDomain: spec.failureDomain, maxShardsPerDomain: spec.maxShardsPerDomain };
}

function refuseAttached({ id, attachment }: VolumeRecord): void {
  if (attachment === null) return;
  const reason = `it is attached to node ${attachment.nodeName}`;
  throw NabuError.of('FAILED_PRECONDITION', { operation: `deleting volume ${id}`, reason });
}

/** Volumes as control keeps them. Every answer is durable before it is given; nothing here is proportional to their number. */
export class Volumes {
  readonly #options: VolumesOptions;
  readonly #table: VolumeTable;
  readonly #ledger = new CapacityLedger();
  readonly #deleter: VolumeDeleter;
  readonly #names = new KeyedMutex<string>({ name: 'volume name', maxWaiters: MAX_SAME_NAME });
  #ring: Ring | undefined;
  #count = 0;
  #everCreated: Promise<void> | undefined;
  #genesis = true;

  private constructor(options: VolumesOptions) {
    this.#options = options;
    this.#table = new VolumeTable(options.store);
    this.#deleter = new VolumeDeleter({
      table: this.#table,
      reaper: options.reaper,
      clock: options.clock,
      logger: options.logger,
      freed: ({ record }) => this.#ledger.release(record),
    });
  }

  /** Reads all records once: counts what they reserve and takes up deletes that a crash interrupted. */
  static async open(options: VolumesOptions): Promise<Volumes> {
    const volumes = new Volumes(options);
    volumes.#genesis = (await options.store.get(HISTORY.kind, HISTORY.id)) === undefined;
    for (let after = ''; ; ) {
      const page = await volumes.#table.list(after, SCAN_PAGE);
      for (const volume of page) volumes.#remember(volume);
      const last = page.at(-1);
      if (last === undefined || page.length < SCAN_PAGE) return volumes;
      after = last.record.id;
    }
  }

  /** No volume was ever created here. */
  get genesis(): boolean {
    return this.#genesis;
  }

  get count(): number {
    return this.#count;
  }

  /** Deleted volumes whose space is not yet free everywhere. */
  get deleting(): number {
    return this.#deleter.pending;
  }

  /** Idempotent by name. POLICY_UNKNOWN, POLICY_TOO_WIDE, NO_SPACE, INVALID_ARGUMENT, OUT_OF_RANGE, VOLUME_EXISTS_DIFFERENT. */
  async create(request: VolumeRequest): Promise<StoredVolume> {
    const spec = parseVolumeSpec(request, this.#options.defaultPolicy);
    return await this.#names.run(spec.name, async () => {
      const existing = await this.#table.findByName(spec.name);
      if (existing === undefined) return await this.#insert(spec);
      const field = differenceFrom(existing.record, spec, request.limitBytes);
      if (field !== undefined) throw NabuError.of('VOLUME_EXISTS_DIFFERENT', { name: spec.name, field });
      return existing;
    });
  }

  async get(id: VolumeId): Promise<StoredVolume> {
    const found = await this.#table.find(id);
    if (found === undefined || found.record.state === 'deleting')
      throw NabuError.of('VOLUME_NOT_FOUND', { volumeId: id });
    return found;
  }

  async getByName(name: string): Promise<StoredVolume> {
    const found = await this.#table.findByName(name);
    if (found === undefined) throw NabuError.of('VOLUME_NOT_FOUND', { volumeId: name });
    return found;
  }

  /** Without those being deleted. `next` is '' at the end. */
  async list(afterId: string, limit: number): Promise<{ volumes: StoredVolume[]; next: string }> {
    const wanted = Math.min(limit === 0 ? 100 : limit, MAX_LIST);
    const volumes: StoredVolume[] = [];
    for (let after = afterId; ; ) {
      const page = await this.#table.list(after, wanted + 1);
      for (const volume of page) {
        if (volume.record.state === 'deleting') continue;
        if (volumes.length === wanted) return { volumes, next: volumes.at(-1)?.record.id ?? '' };
        volumes.push(volume);
      }
      const last = page.at(-1);
      if (last === undefined || page.length <= wanted) return { volumes, next: '' };
      after = last.record.id;
    }
  }

  /**
   * Idempotent: false when there is none. FAILED_PRECONDITION while it is attached. Durable when it resolves; the space on
   * stor-nodes is freed in the background, however long a node is away.
   */
  async delete(id: VolumeId): Promise<boolean> {
    if (await this.#forgetUnwritten(id)) return true;
    let marked: StoredVolume;
    try {
      marked = await this.#table.update(id, (record) => {
        refuseAttached(record);
        return { ...record, state: 'deleting' };
      });
    } catch (err) {
      if (NabuError.is(err, 'VOLUME_NOT_FOUND')) return false;
      throw err;
    }
    this.#count--;
    this.#deleter.start(marked);
    return true;
  }

  /** A volume that was never attached has no log on any node: its record is all there is, and goes in one step. */
  async #forgetUnwritten(id: VolumeId): Promise<boolean> {
    const found = await this.#table.find(id);
    if (found === undefined || found.record.state === 'deleting' || found.record.generation > 0n) return false;
    try {
      await this.#table.delete(found);
    } catch (err) {
      if (NabuError.is(err, 'RESOURCE_CONFLICT')) return false; // attached or deleted meanwhile: the long way finds out
      throw err;
    }
    this.#count--;
    this.#ledger.release(found.record);
    return true;
  }

  /**
   * Gives the writer's generation: a new one for a new attachment, the same one to whoever repeats the request.
   * VOLUME_ATTACHED_ELSEWHERE; ALREADY_EXISTS when attached here in the other mode.
   */
  async attach(id: VolumeId, nodeName: string, readOnly: boolean): Promise<StoredVolume> {
    checkName('nodeName', nodeName);
    return await this.#table.update(id, (record) => {
      const { attachment } = record;
      if (attachment === null) {
        const generation = record.generation + 1n;
        return { ...record, generation, attachment: { nodeName, generation, readOnly } };
      }
      if (attachment.nodeName !== nodeName) {
        throw NabuError.of('VOLUME_ATTACHED_ELSEWHERE', { volumeId: id, nodeName: attachment.nodeName });
      }
      if (attachment.readOnly === readOnly) return record;
      const reason = `it is attached ${attachment.readOnly ? 'read-only' : 'for writing'}`;
      throw NabuError.of('ALREADY_EXISTS', { kind: 'attachment of volume', id, reason });
    });
  }

  /** `nodeName` '' detaches whoever holds it; another holder than the named one is left alone. */
  async detach(id: VolumeId, nodeName: string): Promise<StoredVolume> {
    return await this.#table.update(id, (record) =>
      record.attachment === null || (nodeName !== '' && record.attachment.nodeName !== nodeName)
        ? record
        : { ...record, attachment: null },
    );
  }

  /** To at least `sizeBytes`; a volume never shrinks. NO_SPACE, OUT_OF_RANGE. */
  async expand(id: VolumeId, sizeBytes: bigint): Promise<StoredVolume> {
    const wanted = checkedSize(sizeBytes, 0n);
    return await this.#names.run(id, async () => {
      const before = (await this.get(id)).record;
      if (before.sizeBytes >= wanted) return await this.get(id);
      const larger = { ...before, sizeBytes: wanted };
      this.#ledger.release(before);
      try {
        this.#ledger.reserve(this.#options.map(), larger);
      } catch (err) {
        this.#ledger.count(before);
        throw err;
      }
      try {
        return await this.#table.update(id, (record) => ({ ...record, sizeBytes: wanted }));
      } catch (err) {
        this.#ledger.release(larger);
        this.#ledger.count(before);
        throw err;
      }
    });
  }

  /** Zero available, not an error, where the policy does not fit the cluster. */
  capacity(policyText: string): Capacity & { readonly policy: string } {
    const policy = parsePolicy(policyText === '' ? this.#options.defaultPolicy : policyText);
    const capacity = { ...this.#ledger.capacity(this.#options.map(), policy), policy: policy.name };
    try {
      assertPolicyFits(this.#options.map(), policy);
      return capacity;
    } catch (err) {
      if (!NabuError.is(err, 'POLICY_TOO_WIDE')) throw err;
      return { ...capacity, availableBytes: 0n, maxVolumeBytes: 0n };
    }
  }

  async close(): Promise<void> {
    await this.#deleter.close();
  }

  #remember(volume: StoredVolume): void {
    this.#genesis = false;
    this.#ledger.count(volume.record);
    if (volume.record.state === 'deleting') this.#deleter.start(volume);
    else this.#count++;
  }

  async #insert(spec: VolumeSpec): Promise<StoredVolume> {
    const map = this.#options.map();
    const policy = parsePolicy(spec.policy);
    assertPolicyFits(map, policy, rulesOf(spec));
    this.#ledger.reserve(map, spec);
    try {
      const id = volumeId(hexOf(this.#options.random.bytes(16)));
      if (this.#genesis) await this.#noteFirstVolume();
      const stored = await this.#table.insert({
        ...spec,
        id,
        homeSet: homeSet(map, this.#ringOf(map), id, policy, rulesOf(spec)),
        homeSetVersion: 1n,
        attachment: null,
        generation: 0n,
        state: 'ready',
        createdMs: this.#options.clock.nowMs(),
      });
      this.#count++;
      return stored;
    } catch (err) {
      this.#ledger.release(spec);
      throw err;
    }
  }

  /** Durable before the first volume is: from then on a new node may not assume that there is no fence to take over. */
  async #noteFirstVolume(): Promise<void> {
    this.#everCreated ??= this.#options.store
      .put({ ...HISTORY, name: null, expected: 0n, body: { volumesCreated: true } })
      .then(() => {
        this.#genesis = false;
      })
      .finally(() => {
        this.#everCreated = undefined;
      });
    await this.#everCreated;
  }

  #ringOf(map: ClusterMap): Ring {
    if (this.#ring?.map !== map) this.#ring = new Ring(map);
    return this.#ring;
  }
}
