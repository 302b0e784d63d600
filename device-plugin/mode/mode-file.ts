import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { NabuError } from '../../common/errors/index.ts';
import { atomicWriteJson, readJsonFile, usingPath } from '../../common/fs/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { DeviceMode } from './device-mode.ts';

const fileSchema = z.strictObject({ version: z.literal(1), modes: z.record(z.string(), z.enum(['plugin', 'dra'])) });

/** In which mode each device was last offered, across restarts. Nothing is known of one that is not in it. */
export class ModeFile {
  readonly #path: string;
  readonly #logger: Logger;

  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
  }

  /** Knowing nothing is safe: whoever held a device the other way is then looked for. */
  async load(): Promise<ReadonlyMap<string, DeviceMode>> {
    try {
      const file = await readJsonFile(this.#path, fileSchema);
      return new Map(Object.entries(file?.modes ?? {}));
    } catch (err) {
      if (!NabuError.is(err, 'FILE_INVALID')) throw err;
      this.#logger.error('the modes of devices cannot be read: their holders are looked for', { error: err });
      return new Map();
    }
  }

  /** Durable when it resolves. Throws PATH_UNUSABLE. */
  async save(modes: ReadonlyMap<string, DeviceMode>): Promise<void> {
    await usingPath(this.#path, async () => {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      await atomicWriteJson(this.#path, { version: 1, modes: Object.fromEntries([...modes].sort()) });
    });
  }
}
