import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { NabuError } from '../../common/errors/index.ts';
import { atomicWriteJson, readJsonFile } from '../../common/fs/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import { isVolumeId, type VolumeId } from '../../engine/blob/index.ts';

const publishedSchema = z.strictObject({ readOnly: z.boolean(), mode: z.string() });

const recordSchema = z.strictObject({
  version: z.literal(1),
  volumeId: z.string().refine(isVolumeId),
  stagingPath: z.string(),
  kind: z.enum(['mount', 'block']),
  readOnly: z.boolean(),
  generation: z.string(),
  /** Absent between the intent to stage and the device being there. */
  device: z.strictObject({ path: z.string(), number: z.string(), life: z.string() }).optional(),
  /** By target path: what was asked for, which a mount does not tell. */
  published: z.record(z.string(), publishedSchema),
});

export type StagedRecord = z.output<typeof recordSchema>;

/**
 * What this plugin did to a volume, one small file each. A hint for finding orphans after a crash and for what mountinfo cannot
 * tell; where it and the kernel differ, the kernel is right.
 */
export class StagedRecords {
  readonly #folder: string;
  readonly #logger: Logger;

  constructor(folder: string, logger: Logger) {
    this.#folder = folder;
    this.#logger = logger;
  }

  async open(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    // What a crash left half written.
    for (const name of await readdir(this.#folder)) {
      if (name.endsWith('.tmp')) await rm(join(this.#folder, name), { force: true });
    }
  }

  /** A file that cannot be read is as none: it is only a hint. */
  async read(id: VolumeId): Promise<StagedRecord | undefined> {
    try {
      return await readJsonFile(this.#path(id), recordSchema);
    } catch (err) {
      if (!NabuError.is(err, 'FILE_INVALID')) throw err;
      this.#logger.warn('staging record is unreadable and is ignored', { volumeId: id, error: err });
      return undefined;
    }
  }

  async write(record: StagedRecord): Promise<void> {
    await atomicWriteJson(this.#path(record.volumeId), record);
  }

  async remove(id: VolumeId): Promise<void> {
    await rm(this.#path(id), { force: true });
  }

  async list(): Promise<VolumeId[]> {
    return (await readdir(this.#folder)).map((name) => name.replace(/\.json$/, '')).filter(isVolumeId);
  }

  #path(id: VolumeId): string {
    return join(this.#folder, `${id}.json`);
  }
}
