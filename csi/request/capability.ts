import { NabuError } from '../../common/errors/index.ts';
import { csi } from '../../proto/gen/messages.js';
import { refuse } from './fields.ts';
import { type FsType, parseFsType } from './fs-type.ts';
import { parseMountOptions } from './mount-options.ts';

const { Mode } = csi.v1.VolumeCapability.AccessMode;

/** A log-structured volume has one writer epoch and so one node at a time: MULTI_NODE modes would be a lie. */
const MODES = {
  SINGLE_NODE_WRITER: Mode.SINGLE_NODE_WRITER,
  SINGLE_NODE_READER_ONLY: Mode.SINGLE_NODE_READER_ONLY,
  SINGLE_NODE_SINGLE_WRITER: Mode.SINGLE_NODE_SINGLE_WRITER,
  SINGLE_NODE_MULTI_WRITER: Mode.SINGLE_NODE_MULTI_WRITER,
} as const;
export type AccessMode = keyof typeof MODES;

export type Capability = {
  readonly mode: AccessMode;
  readonly access:
    | { readonly kind: 'block' }
    | {
        readonly kind: 'mount';
        /** undefined: as the volume was created. */
        readonly fsType: FsType | undefined;
        readonly mountOptions: readonly string[];
      };
};

function nameOfMode(mode: number): string {
  return Object.entries(Mode).find(([, value]) => value === mode)?.[0] ?? String(mode);
}

function parseMode(field: string, mode: number): AccessMode {
  if (mode === Mode.UNKNOWN) throw refuse(field, 'has no access mode');
  for (const [name, value] of Object.entries(MODES)) if (value === mode) return name as AccessMode;
  throw NabuError.of('ACCESS_MODE_UNSUPPORTED', { mode: nameOfMode(mode), allowed: Object.keys(MODES) });
}

/** Throws INVALID_ARGUMENT or ACCESS_MODE_UNSUPPORTED. */
export function parseCapability(field: string, capability: csi.v1.VolumeCapability | null): Capability {
  if (capability === null) throw refuse(field, 'is missing');
  const mode = parseMode(`${field}.access_mode`, capability.accessMode?.mode ?? Mode.UNKNOWN);
  if (capability.accessType === 'block') return { mode, access: { kind: 'block' } };
  const mount = capability.mount;
  if (mount === undefined) throw refuse(field, 'is neither block nor mount');
  if (mount.volumeMountGroup !== '') throw refuse(`${field}.mount.volume_mount_group`, 'is not supported');
  const fsType = mount.fsType === '' ? undefined : parseFsType(`${field}.mount.fs_type`, mount.fsType);
  const mountOptions = parseMountOptions(`${field}.mount.mount_flags`, mount.mountFlags);
  return { mode, access: { kind: 'mount', fsType, mountOptions } };
}

/** At least one; all must hold for the one volume, so they may not name different file systems. */
export function parseCapabilities(field: string, capabilities: readonly csi.v1.VolumeCapability[]): Capability[] {
  if (capabilities.length === 0) throw refuse(field, 'is missing');
  const parsed = capabilities.map((capability, at) => parseCapability(`${field}[${at}]`, capability));
  fsTypeOf(field, parsed);
  return parsed;
}

/** The file system that the capabilities name, if any does. Throws INVALID_ARGUMENT when two differ. */
export function fsTypeOf(field: string, capabilities: readonly Capability[]): FsType | undefined {
  const named = new Set<FsType>();
  for (const { access } of capabilities)
    if (access.kind === 'mount' && access.fsType !== undefined) named.add(access.fsType);
  if (named.size > 1) throw refuse(field, `names several file systems: ${[...named].join(', ')}`);
  return named.values().next().value;
}

export function isReadOnlyMode(mode: AccessMode): boolean {
  return mode === 'SINGLE_NODE_READER_ONLY';
}
