import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { VolumeId } from '../../engine/blob/index.ts';
import type { csi } from '../../proto/gen/messages.js';
import {
  type AccessMode,
  isReadOnlyMode,
  parseCapability,
  refuse,
  refuseSecrets,
  requirePath,
  requireVolumeId,
} from '../request/index.ts';
import type { BlockDevice } from './block-device.ts';
import { bindMount, makeBindReadOnly, setDeviceReadOnly, unmount } from './mount-commands.ts';
import { isMountOf, type Mount, MountTable } from './mount-table.ts';
import { knownDevice, type NodeParts } from './node-parts.ts';
import { requireStaged } from './stage-volume.ts';
import type { StagedRecord } from './staged-records.ts';
import { canonicalPath, makeTarget, removeTarget } from './target-path.ts';

type PublishRequest = {
  readonly id: VolumeId;
  readonly stagingPath: string;
  readonly targetPath: string;
  readonly kind: 'mount' | 'block';
  readonly mode: AccessMode;
  readonly readOnly: boolean;
};

export function parsePublishRequest(request: csi.v1.NodePublishVolumeRequest): PublishRequest {
  if (request.volumeId === '') throw refuse('volume_id', 'is missing');
  const targetPath = requirePath('target_path', request.targetPath);
  const { mode, access } = parseCapability('volume_capability', request.volumeCapability);
  const stagingPath = requirePath('staging_target_path', request.stagingTargetPath);
  refuseSecrets(request.secrets);
  const id = requireVolumeId('volume_id', request.volumeId);
  const asksReadOnly = request.readonly || request.publishContext.readOnly === 'true' || isReadOnlyMode(mode);
  const flags = access.kind === 'mount' ? access.mountOptions : [];
  return { id, stagingPath, targetPath, kind: access.kind, mode, readOnly: asksReadOnly || flags.includes('ro') };
}

/** CSI 1.12 NodePublishVolume: the staged file system, or the device node, appears at the target as well. */
export async function publishVolume(parts: NodeParts, request: PublishRequest, deadline: Deadline): Promise<void> {
  const { device, stagingPath, table } = await requireStaged(parts, request, deadline);
  const target = await canonicalPath(request.targetPath);
  const record = await parts.records.read(request.id);
  const there = table.at(target);
  if (there === undefined) {
    await refuseSharing(request, target, device, stagingPath, table, record);
    await makeTarget(target, request.kind);
  } else {
    await requireSamePublication(there, device, request, target, record);
  }
  const context = { deadline, logger: parts.logger };
  if (request.kind === 'block') await setDeviceReadOnly(device.path, request.readOnly, context);
  if (there === undefined) await bindMount(request.kind === 'mount' ? stagingPath : device.path, target, context);
  if (request.readOnly && there?.options.includes('ro') !== true) await makeBindReadOnly(target, context);
  const { readOnly, mode } = request;
  const known = record?.published[target];
  if (record !== undefined && (known?.readOnly !== readOnly || known.mode !== mode)) {
    await parts.records.write({ ...record, published: { ...record.published, [target]: { readOnly, mode } } });
  }
}

/** A bind that is there and writable, though read-only is wanted, was either asked for so or interrupted: the record tells. */
async function requireSamePublication(
  there: Mount,
  device: BlockDevice,
  request: PublishRequest,
  path: string,
  record: StagedRecord | undefined,
): Promise<void> {
  if (!(await isMountOf(there, device))) {
    throw NabuError.of('PATH_UNUSABLE', { path, reason: 'something else is mounted there' });
  }
  const differs = (field: string): NabuError =>
    NabuError.of('VOLUME_MOUNTED_DIFFERENT', { volumeId: request.id, path, field });
  const isBlock = there.deviceNumber !== device.number;
  if (isBlock !== (request.kind === 'block')) throw differs('access type');
  const asked = record?.published[path]?.readOnly;
  if (asked === undefined ? !request.readOnly && there.options.includes('ro') : asked !== request.readOnly) {
    throw differs('readonly');
  }
}

/** SINGLE_NODE_SINGLE_WRITER means one target; and what is read-only for the device cannot be writable for another pod. */
async function refuseSharing(
  request: PublishRequest,
  target: string,
  device: BlockDevice,
  stagingPath: string,
  table: MountTable,
  record: StagedRecord | undefined,
): Promise<void> {
  const others = (await table.of(device))
    .map((mount) => mount.mountPoint)
    .filter((path) => path !== stagingPath && path !== target);
  const [first] = others;
  if (first === undefined) return;
  const inUse = (reason: string): NabuError => NabuError.of('VOLUME_IN_USE', { volumeId: request.id, reason });
  const modes = others.map((path) => record?.published[path]?.mode);
  if ([request.mode, ...modes].includes('SINGLE_NODE_SINGLE_WRITER')) {
    throw inUse(`it is published at ${first}, and SINGLE_NODE_SINGLE_WRITER allows one target`);
  }
  if (request.kind !== 'block') return;
  for (const path of others) {
    const other = record?.published[path]?.readOnly;
    if (other !== undefined && other !== request.readOnly) {
      throw inUse(`its device is published ${other ? 'read-only' : 'for writing'} at ${path}, and cannot be both`);
    }
  }
}

/** CSI 1.12 NodeUnpublishVolume. */
export async function unpublishVolume(
  parts: NodeParts,
  request: { readonly id: VolumeId; readonly targetPath: string },
  deadline: Deadline,
): Promise<void> {
  const { id } = request;
  const target = await canonicalPath(request.targetPath).catch(() => undefined);
  if (target === undefined) return; // its folder is gone, and with it the target
  const record = await parts.records.read(id);
  const table = await MountTable.read();
  const there = table.at(target);
  if (there !== undefined) {
    const device = await knownDevice(parts, id, record, deadline);
    if (device === undefined || !(await isMountOf(there, device))) {
      throw NabuError.of('PATH_UNUSABLE', { path: target, reason: 'something else is mounted there' });
    }
    const context = { deadline, logger: parts.logger };
    for (let left = table.countAt(target); left > 0; left--) await unmount(target, id, context);
  }
  await removeTarget(target);
  if (record?.published[target] !== undefined) {
    const { [target]: _, ...published } = record.published;
    await parts.records.write({ ...record, published });
  }
}
