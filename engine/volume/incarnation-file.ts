import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { atomicWriteJson, readJsonFile } from '../../common/fs/index.ts';

const schema = z.strictObject({ version: z.literal(1), incarnation: z.string().regex(/^\d{1,19}$/) });

/**
 * The second half of a volume's writer epoch, kept on the node that serves it: raised durably before every opening, so that a
 * server that restarts while control is away still has an epoch of its own.
 */
export class IncarnationFile {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** The next one, at least `atLeast`; durable when it resolves. FILE_INVALID for a file that is none of ours. */
  async raise(atLeast = 0n): Promise<bigint> {
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    const before = BigInt((await readJsonFile(this.#path, schema))?.incarnation ?? '0');
    const next = before + 1n > atLeast ? before + 1n : atLeast;
    await atomicWriteJson(this.#path, { version: 1, incarnation: next.toString() });
    return next;
  }
}
