import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { NabuError } from '../../common/errors/index.ts';
import { atomicWriteJson, PidFile, readJsonFile } from '../../common/fs/index.ts';
import { type ClusterMap, parseClusterMap } from '../placement/index.ts';

const recordSchema = z.object({
  id: z.string(),
  pid: z.int(),
  clusterId: z.string(),
  host: z.string(),
  port: z.int().min(1).max(65535),
  devicePath: z.string().optional(),
  deviceId: z.string(),
  incarnation: z.string(),
});

/** node.json: who the node is and where it listens, for people and for the next start. */
export type NodeRecord = z.output<typeof recordSchema>;

/** The small files that a node keeps beside its device. */
export class NodeFiles {
  readonly #folder: string;
  readonly #record: string;
  readonly #map: string;

  constructor(folder: string, recordPath: string) {
    this.#folder = folder;
    this.#record = recordPath;
    this.#map = join(folder, 'map.json');
  }

  /** One process per node: LOCK_HELD while another one lives. */
  async lock(): Promise<PidFile> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    return await PidFile.acquire(join(this.#folder, 'node.lock'));
  }

  readRecord(): Promise<NodeRecord | undefined> {
    return readJsonFile(this.#record, recordSchema);
  }

  async writeRecord(record: NodeRecord): Promise<void> {
    await atomicWriteJson(this.#record, record);
  }

  /** The last map it went by, so that it serves while control is away. */
  async readMap(): Promise<ClusterMap | undefined> {
    const value = await readJsonFile(this.#map, z.unknown());
    if (value === undefined) return undefined;
    try {
      return parseClusterMap(value, this.#map);
    } catch (cause) {
      if (!NabuError.is(cause)) throw cause;
      throw NabuError.of('FILE_INVALID', { path: this.#map, reason: cause.message }, { cause });
    }
  }

  async writeMap(map: ClusterMap): Promise<void> {
    await atomicWriteJson(this.#map, map);
  }
}
