import { printable, refuse } from './fields.ts';

export const FS_TYPES = ['ext4', 'xfs'] as const;
export type FsType = (typeof FS_TYPES)[number];
export const DEFAULT_FS_TYPE: FsType = 'ext4';

export function parseFsType(field: string, text: string): FsType {
  const found = FS_TYPES.find((candidate) => candidate === text);
  if (found === undefined)
    throw refuse(field, `${JSON.stringify(printable(text))} is not one of ${FS_TYPES.join(', ')}`);
  return found;
}
