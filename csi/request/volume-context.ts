import { DEFAULT_FS_TYPE, type FsType, parseFsType } from './fs-type.ts';
import { parseMkfsOptions } from './mkfs-options.ts';
import { checkMountOptions, parseMountOptions } from './mount-options.ts';
import { type Parameters, parseIoTimeout } from './parameters.ts';

/** What a node has to know to mount a volume. Travels as control's parameters of the volume and as CSI's volume_context. */
export type MountPlan = {
  readonly fsType: FsType;
  readonly mkfsOptions: readonly string[];
  readonly mountOptions: readonly string[];
  readonly ioTimeoutMs: number;
};

/** As text under names of ours; only what differs from the defaults, so that retries with the same meaning compare equal. */
export function formatVolumeContext(
  parameters: Parameters,
  fsType: FsType | undefined,
): Readonly<Record<string, string>> {
  return {
    ...(fsType === undefined ? {} : { fsType }),
    ...(parameters.mkfsOptions === '' ? {} : { mkfsOptions: parameters.mkfsOptions }),
    ...(parameters.mountOptions.length === 0 ? {} : { mountOptions: parameters.mountOptions.join(',') }),
    ...(parameters.ioTimeoutMs === 0 ? {} : { ioTimeout: `${parameters.ioTimeoutMs}ms` }),
  };
}

/** Of all that a volume was created with, what goes to the nodes. */
export function nodeContextOf(parameters: Readonly<Record<string, string>>): Record<string, string> {
  const keys = ['fsType', 'mkfsOptions', 'mountOptions', 'ioTimeout'] as const;
  return Object.fromEntries(
    keys.flatMap((key) => {
      const value = parameters[key];
      return value === undefined ? [] : [[key, value] as const];
    }),
  );
}

/**
 * Orchestrators add keys of their own to the context, which are no concern of ours. Ours are checked again: a
 * PersistentVolume can be written by hand. Throws INVALID_ARGUMENT.
 */
export function parseVolumeContext(
  context: Readonly<Record<string, string>>,
  capabilityFsType: FsType | undefined,
): MountPlan {
  const named = context.fsType ?? '';
  const fsType = capabilityFsType ?? (named === '' ? DEFAULT_FS_TYPE : parseFsType('volume_context.fsType', named));
  const mountOptions = parseMountOptions('volume_context.mountOptions', [context.mountOptions ?? '']);
  checkMountOptions('volume_context.mountOptions', fsType, mountOptions);
  return {
    fsType,
    mountOptions,
    mkfsOptions: parseMkfsOptions('volume_context.mkfsOptions', fsType, context.mkfsOptions ?? ''),
    ioTimeoutMs: parseIoTimeout('volume_context.ioTimeout', context.ioTimeout ?? ''),
  };
}
