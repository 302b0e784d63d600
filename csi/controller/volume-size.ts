import { type FsType, MIN_VOLUME_BYTES, MIN_XFS_BYTES } from '../request/index.ts';

/** undefined: not known yet, or raw block. */
export function smallestVolumeBytes(fsType: FsType | undefined): bigint {
  return fsType === 'xfs' ? MIN_XFS_BYTES : MIN_VOLUME_BYTES;
}
