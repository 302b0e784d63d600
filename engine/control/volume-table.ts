import { NabuError } from '../../common/errors/index.ts';
import type { VolumeId } from '../blob/index.ts';
import type { Resource, ResourceStore } from './resource-store.ts';
import { indexedName, parseVolumeRecord, VOLUME_KIND, type VolumeRecord, volumeRecordBody } from './volume-record.ts';

/** A record with the version that a compare-and-swap must name. */
export type StoredVolume = { readonly record: VolumeRecord; readonly version: bigint };

const SWAP_ATTEMPTS = 16;

function fromResource(resource: Resource): StoredVolume {
  return { record: parseVolumeRecord(resource.body), version: resource.version };
}

/** Volume records in the resource store. */
export class VolumeTable {
  readonly #store: ResourceStore;

  constructor(store: ResourceStore) {
    this.#store = store;
  }

  async find(id: VolumeId): Promise<StoredVolume | undefined> {
    const resource = await this.#store.get(VOLUME_KIND, id);
    return resource === undefined ? undefined : fromResource(resource);
  }

  /** Finds no volume that is being deleted: that one has given its name back. */
  async findByName(name: string): Promise<StoredVolume | undefined> {
    const resource = await this.#store.getByName(VOLUME_KIND, name);
    return resource === undefined ? undefined : fromResource(resource);
  }

  /** In the order of ids, those being deleted included. */
  async list(afterId: string, limit: number): Promise<StoredVolume[]> {
    return (await this.#store.list(VOLUME_KIND, afterId, limit)).map(fromResource);
  }

  /** RESOURCE_CONFLICT when the name is taken. */
  async insert(record: VolumeRecord): Promise<StoredVolume> {
    return await this.#put(record, 0n);
  }

  /**
   * Reads, lets `edit` make the next record, and writes it unless another change came between: then from the start. `edit`
   * returns its argument to change nothing. Throws VOLUME_NOT_FOUND, also for a volume that is being deleted.
   */
  async update(id: VolumeId, edit: (record: VolumeRecord) => VolumeRecord): Promise<StoredVolume> {
    for (let attempt = 1; ; attempt++) {
      const found = await this.find(id);
      if (found === undefined || found.record.state === 'deleting') {
        throw NabuError.of('VOLUME_NOT_FOUND', { volumeId: id });
      }
      const next = edit(found.record);
      if (next === found.record) return found;
      try {
        return await this.#put(next, found.version);
      } catch (err) {
        if (!NabuError.is(err, 'RESOURCE_CONFLICT') || attempt === SWAP_ATTEMPTS) throw err;
      }
    }
  }

  async delete({ record, version }: StoredVolume): Promise<void> {
    await this.#store.delete({ kind: VOLUME_KIND, id: record.id, expected: version });
  }

  async #put(record: VolumeRecord, expected: bigint): Promise<StoredVolume> {
    const body = volumeRecordBody(record);
    const { version } = await this.#store.put({
      kind: VOLUME_KIND,
      id: record.id,
      name: indexedName(record),
      expected,
      body,
    });
    return { record, version };
  }
}
