import { constants } from 'node:fs';
import { lstat, open, opendir, readlink } from 'node:fs/promises';

/** What lies at a path, links not followed. `device` is there for character devices alone. */
export type TreeEntry = {
  readonly kind: 'file' | 'directory' | 'link' | 'char-device' | 'other';
  readonly device: { readonly major: number; readonly minor: number } | null;
};

/** The file operations of a tree, as a port: tests put files behind it that hang, vanish or fail. */
export type TreeFiles = {
  entry(path: string): Promise<TreeEntry>;
  /** Where a link leads; null for what is no link. */
  link(path: string): Promise<string | null>;
  /** The names in a directory, in any order; gives up after `limit` + 1 of them. */
  names(path: string, limit: number): Promise<readonly string[]>;
  /** The bytes of a file that is no link (else ELOOP); gives up after `limit` + 1 of them. */
  bytes(path: string, limit: number): Promise<Buffer>;
  /** Whether the first `limit` bytes of a file have the text in them, without holding them in memory. */
  holds(path: string, text: string, limit: number): Promise<boolean>;
};

/** The numbers in a `dev_t`, as glibc's `gnu_dev_major` and `gnu_dev_minor` take them apart. */
function deviceOf(rdev: bigint): { major: number; minor: number } {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return { major: Number(major), minor: Number(minor) };
}

export const nodeFiles: TreeFiles = {
  async entry(path) {
    const stats = await lstat(path, { bigint: true });
    if (stats.isCharacterDevice()) return { kind: 'char-device', device: deviceOf(stats.rdev) };
    if (stats.isSymbolicLink()) return { kind: 'link', device: null };
    if (stats.isDirectory()) return { kind: 'directory', device: null };
    return { kind: stats.isFile() ? 'file' : 'other', device: null };
  },

  async link(path) {
    try {
      return await readlink(path);
    } catch (err) {
      // EINVAL is how the kernel says that it is no link (readlink(2)): one call where lstat and readlink are two.
      if (err instanceof Error && 'code' in err && err.code === 'EINVAL') return null;
      throw err;
    }
  },

  async names(path, limit) {
    const names: string[] = [];
    for await (const entry of await opendir(path)) {
      names.push(entry.name);
      if (names.length > limit) break;
    }
    return names;
  },

  async bytes(path, limit) {
    const chunks: Buffer[] = [];
    for await (const chunk of chunksOf(path, limit + 1)) chunks.push(chunk);
    return Buffer.concat(chunks);
  },

  async holds(path, text, limit) {
    let tail = Buffer.alloc(0);
    for await (const chunk of chunksOf(path, limit)) {
      const window = Buffer.concat([tail, chunk]);
      if (window.includes(text)) return true;
      tail = window.subarray(Math.max(0, window.length - Buffer.byteLength(text) + 1));
    }
    return false;
  },
};

/** Attributes of sysfs are at most a page long: one read, and one more that finds the end. */
const FIRST_READ_BYTES = 4096;
const NEXT_READ_BYTES = 64 * 1024;

async function* chunksOf(path: string, limit: number): AsyncGenerator<Buffer> {
  // O_NONBLOCK: a FIFO put where a file belongs answers nothing instead of waiting for a writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    for (let sizeBytes = 0; sizeBytes < limit; ) {
      const wanted = Math.min(sizeBytes === 0 ? FIRST_READ_BYTES : NEXT_READ_BYTES, limit - sizeBytes);
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(wanted), 0, wanted, null);
      if (bytesRead === 0) return;
      sizeBytes += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}
