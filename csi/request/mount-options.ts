import { printable, refuse } from './fields.ts';
import type { FsType } from './fs-type.ts';

// A mount option runs with the rights of the node plugin, so only options that are known to be harmless pass. Left out on
// purpose: what weakens a flush (barrier=0, nobarrier), what panics the machine (errors=panic), what names another device or
// path, and what a CSI call decides itself (bind, remount, loop).
const COMMON = [
  'ro',
  'rw',
  'atime',
  'noatime',
  'diratime',
  'nodiratime',
  'relatime',
  'norelatime',
  'strictatime',
  'lazytime',
  'nolazytime',
  'nodev',
  'noexec',
  'nosuid',
  'sync',
  'dirsync',
  'discard',
  'nodiscard',
] as const;

const BY_FS: Readonly<Record<FsType, readonly (string | RegExp)[]>> = {
  ext4: [
    'acl',
    'noacl',
    'user_xattr',
    'delalloc',
    'nodelalloc',
    'journal_checksum',
    'dioread_lock',
    'dioread_nolock',
    'noinit_itable',
    'usrquota',
    'grpquota',
    'prjquota',
    /^data=(?:ordered|journal|writeback)$/,
    /^errors=(?:remount-ro|continue)$/,
    /^commit=\d{1,4}$/,
    /^stripe=\d{1,6}$/,
    /^init_itable=\d{1,4}$/,
    /^inode_readahead_blks=\d{1,6}$/,
    /^max_batch_time=\d{1,9}$/,
    /^min_batch_time=\d{1,9}$/,
  ],
  xfs: [
    'inode64',
    'inode32',
    'largeio',
    'nolargeio',
    'noalign',
    'swalloc',
    'wsync',
    'uquota',
    'gquota',
    'pquota',
    'noquota',
    /^allocsize=\d{1,7}[km]?$/,
    /^logbufs=\d$/,
    /^logbsize=\d{1,6}k?$/,
  ],
};

const MAX_OPTIONS = 32;

function isKnown(option: string, fsTypes: readonly FsType[]): boolean {
  if (COMMON.some((known) => known === option)) return true;
  return fsTypes.some((fsType) =>
    BY_FS[fsType].some((known) => (typeof known === 'string' ? known === option : known.test(option))),
  );
}

/** Options that some file system of ours knows; commas separate, also within one flag. Throws INVALID_ARGUMENT naming the first other one. */
export function parseMountOptions(field: string, flags: readonly string[]): readonly string[] {
  const options = flags.flatMap((flag) => flag.split(',')).filter((option) => option !== '');
  if (options.length > MAX_OPTIONS)
    throw refuse(field, `has ${options.length} options, at most ${MAX_OPTIONS} are taken`);
  for (const option of options) {
    if (!isKnown(option, ['ext4', 'xfs']))
      throw refuse(field, `option ${JSON.stringify(printable(option))} is not allowed`);
  }
  return [...new Set(options)];
}

/** The same for the one file system that will be mounted. */
export function checkMountOptions(field: string, fsType: FsType, options: readonly string[]): void {
  for (const option of options) {
    if (!isKnown(option, [fsType])) throw refuse(field, `option ${JSON.stringify(option)} is none of ${fsType}`);
  }
}
