import type { BigIntStats } from 'node:fs';
import { lstat, stat } from 'node:fs/promises';

/** Tells a file from one that took its name later, also when the inode's number was used again. Undefined: there is none. */
export async function fileIdentity(path: string): Promise<string | undefined> {
  const found = await looked(() => lstat(path, { bigint: true }));
  return found === undefined ? undefined : `${found.dev}:${found.ino}:${found.ctimeNs}`;
}

/** The same for the folder that a path leads to, whose files come and go. Undefined: there is none. */
export async function folderIdentity(path: string): Promise<string | undefined> {
  const found = await looked(() => stat(path, { bigint: true }));
  return found?.isDirectory() ? `${found.dev}:${found.ino}` : undefined;
}

async function looked(look: () => Promise<BigIntStats>): Promise<BigIntStats | undefined> {
  try {
    return await look();
  } catch {
    return undefined; // whatever the reason, it cannot be used now; using it tells why, and the next look tells anew
  }
}
