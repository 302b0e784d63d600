import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Makes the entries of a folder durable: a rename or a new file survives a power loss only after this. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * Replaces a file in one step: readers see the old content or the new, also after a crash at any point. Durable when it
 * resolves.
 */
export async function atomicWriteFile(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const temporary = `${path}.${process.pid}.${randomUUID()}.tmp`;
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (err) {
    await rm(temporary, { force: true });
    throw err;
  }
  await syncFolder(dirname(path));
}

/** The same for a value as JSON; bigints become decimal strings. */
export async function atomicWriteJson(path: string, value: unknown, mode = 0o600): Promise<void> {
  const text = JSON.stringify(value, (_, field) => (typeof field === 'bigint' ? field.toString() : field), 2);
  await atomicWriteFile(path, `${text}\n`, mode);
}
