import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { VolumeId } from '../../engine/blob/index.ts';
import type { csi } from '../../proto/gen/messages.js';
import {
  checkMountOptions,
  isReadOnlyMode,
  type MountPlan,
  parseCapability,
  parseVolumeContext,
  refuse,
  refuseSecrets,
  requirePath,
  requireVolumeId,
} from '../request/index.ts';
import { type BlockDevice, isSameLife, openBlockDevice, withLife } from './block-device.ts';
import { ensureFilesystem } from './format.ts';
import { mountDevice, unmount } from './mount-commands.ts';
import { isMountOf, type Mount, MountTable } from './mount-table.ts';
import { hostedDevice, knownDevice, type NodeParts } from './node-parts.ts';
import type { StagedRecord } from './staged-records.ts';
import { canonicalPath, kindOfPath, requireFolder } from './target-path.ts';

type StageRequest = {
  readonly id: VolumeId;
  readonly stagingPath: string;
  readonly kind: 'mount' | 'block';
  readonly plan: MountPlan;
  /** Of the capability and of the volume together. */
  readonly mountOptions: readonly string[];
  readonly readOnly: boolean;
  readonly generation: bigint;
};

/** What ControllerPublishVolume answered. A volume without it is not attached: nobody raised its writer epoch for this node. */
function parseGeneration(id: VolumeId, context: Readonly<Record<string, string>>): bigint {
  const text = context.generation;
  if (text === undefined) throw NabuError.of('VOLUME_NOT_ATTACHED', { volumeId: id });
  if (!/^[1-9]\d{0,18}$/.test(text)) throw refuse('publish_context.generation', 'is not a whole number above 0');
  return BigInt(text);
}

export function parseStageRequest(request: csi.v1.NodeStageVolumeRequest): StageRequest {
  if (request.volumeId === '') throw refuse('volume_id', 'is missing');
  const stagingPath = requirePath('staging_target_path', request.stagingTargetPath);
  const { mode, access } = parseCapability('volume_capability', request.volumeCapability);
  refuseSecrets(request.secrets);
  const id = requireVolumeId('volume_id', request.volumeId);
  const plan = parseVolumeContext(request.volumeContext, access.kind === 'mount' ? access.fsType : undefined);
  const flags = access.kind === 'mount' ? access.mountOptions : [];
  checkMountOptions('volume_capability.mount.mount_flags', plan.fsType, flags);
  const mountOptions = [...new Set([...plan.mountOptions, ...flags])];
  return {
    id,
    stagingPath,
    kind: access.kind,
    plan,
    mountOptions,
    readOnly: request.publishContext.readOnly === 'true' || isReadOnlyMode(mode),
    generation: parseGeneration(id, request.publishContext),
  };
}

/** What is left for the rest of a call after its volume did not open: enough to tell the caller why, before it hangs up. */
const ANSWER_MS = 500;
const LEAST_OPEN_MS = 1000;

/**
 * CSI 1.12 NodeStageVolume. Every step looks first whether it is done, so that a retry goes on where a crash stopped. Its caller waits
 * `patienceMs`: a volume that cannot be opened by then fails with the names of the nodes it needs (VOLUME_OPEN_BLOCKED).
 */
export async function stageVolume(
  parts: NodeParts,
  request: StageRequest,
  deadline: Deadline,
  patienceMs: number,
): Promise<void> {
  const { id, kind } = request;
  const stagingPath = await canonicalPath(request.stagingPath);
  const table = await MountTable.read();
  const staged = await hostedDevice(parts, id, deadline);
  const there = table.at(stagingPath);
  const before = await parts.records.read(id);
  if (there !== undefined) {
    await refuseLostDevice(there, staged, before, id);
    await requireSameMount(there, staged, request);
    return;
  }
  await requireFolder(stagingPath);
  await refuseOtherStaging(before, stagingPath, kind, staged, table, id);
  const record: StagedRecord = {
    version: 1,
    volumeId: id,
    stagingPath,
    kind,
    readOnly: request.readOnly,
    generation: String(request.generation),
    published: before?.published ?? {},
  };
  await parts.records.write(record);
  const { plan, readOnly, generation } = request;
  using opening = deadline.within('opening the volume', Math.max(LEAST_OPEN_MS, patienceMs - ANSWER_MS));
  const opened = await parts.host.openVolume({ id, generation, readOnly, ioTimeoutMs: plan.ioTimeoutMs }, opening);
  const device = await openBlockDevice(opened.devicePath);
  await parts.records.write({ ...record, device: await withLife(device) });
  if (kind === 'block') return;
  const context = { deadline, logger: parts.logger };
  await ensureFilesystem(device, { volumeId: id, ...plan, readOnly }, context);
  const options = readOnly ? [...request.mountOptions.filter((option) => option !== 'rw'), 'ro'] : request.mountOptions;
  await mountDevice({ device: device.path, path: stagingPath, fsType: plan.fsType, options }, context);
}

/** Its server is gone, keeper and all: what is mounted answers errors, and is never connected to another device. */
async function refuseLostDevice(
  there: Mount,
  device: BlockDevice | undefined,
  record: StagedRecord | undefined,
  id: VolumeId,
): Promise<void> {
  const noted = record?.device;
  if (device !== undefined || noted === undefined || there.deviceNumber !== noted.number) return;
  if (!(await isSameLife(noted))) return;
  const reason = 'its device has lost its server: unpublish and unstage it first';
  throw NabuError.of('VOLUME_IN_USE', { volumeId: id, reason });
}

/** A mount at the staging path is either ours, the way it is asked for, or a mistake. */
async function requireSameMount(there: Mount, device: BlockDevice | undefined, request: StageRequest): Promise<void> {
  const { id, stagingPath: path, kind, plan } = request;
  if (device === undefined || !(await isMountOf(there, device))) {
    throw NabuError.of('PATH_UNUSABLE', { path, reason: 'something else is mounted there' });
  }
  const differs = (field: string): NabuError => NabuError.of('VOLUME_MOUNTED_DIFFERENT', { volumeId: id, path, field });
  if (kind !== 'mount') throw differs('access type');
  if (there.fsType !== plan.fsType) throw differs('file system');
  const wantsReadOnly = request.readOnly || request.mountOptions.includes('ro');
  if (there.options.includes('ro') !== wantsReadOnly) throw differs('readonly');
}

/** One device is staged at one place: a second mount of it would share its pages, but not the reasons for unmounting it. */
async function refuseOtherStaging(
  record: StagedRecord | undefined,
  stagingPath: string,
  kind: StagedRecord['kind'],
  device: BlockDevice | undefined,
  table: MountTable,
  id: VolumeId,
): Promise<void> {
  if (record?.device === undefined || device === undefined) return;
  const there = table.at(record.stagingPath);
  const isMounted = there !== undefined && (await isMountOf(there, device));
  const isStaged = record.kind === 'block' ? record.device.number === device.number : isMounted;
  if (isStaged && record.kind !== kind) {
    throw NabuError.of('VOLUME_MOUNTED_DIFFERENT', { volumeId: id, path: record.stagingPath, field: 'access type' });
  }
  if (isStaged && record.stagingPath !== stagingPath) {
    throw NabuError.of('VOLUME_IN_USE', { volumeId: id, reason: `it is staged at ${record.stagingPath}` });
  }
}

/** CSI 1.12 NodeUnstageVolume. Whatever of it is done already stays done. */
export async function unstageVolume(
  parts: NodeParts,
  request: { readonly id: VolumeId; readonly stagingPath: string },
  deadline: Deadline,
): Promise<void> {
  const { id } = request;
  const record = await parts.records.read(id);
  const device = await knownDevice(parts, id, record, deadline);
  const context = { deadline, logger: parts.logger };
  const path = await canonicalPath(request.stagingPath).catch(() => request.stagingPath);
  const table = await MountTable.read();
  const there = table.at(path);
  if (there !== undefined && (device === undefined || !(await isMountOf(there, device)))) {
    throw NabuError.of('PATH_UNUSABLE', { path, reason: 'something else is mounted there' });
  }
  if (device !== undefined) {
    const elsewhere = (await table.of(device)).filter((mount) => mount.mountPoint !== path);
    if (elsewhere.length > 0) {
      const places = elsewhere.map((mount) => mount.mountPoint).join(', ');
      throw NabuError.of('VOLUME_IN_USE', { volumeId: id, reason: `it is still published at ${places}` });
    }
    for (let left = table.countAt(path); left > 0; left--) await unmount(path, id, context);
  }
  await parts.host.closeVolume(id, deadline);
  await parts.records.remove(id);
}

/** Where a volume is staged, as the kernel and the volume server say. Throws VOLUME_NOT_STAGED. */
export async function requireStaged(
  parts: NodeParts,
  request: { readonly id: VolumeId; readonly stagingPath: string; readonly kind: 'mount' | 'block' },
  deadline: Deadline,
): Promise<{ readonly device: BlockDevice; readonly stagingPath: string; readonly table: MountTable }> {
  const { id, kind } = request;
  const notStaged = (): NabuError => NabuError.of('VOLUME_NOT_STAGED', { volumeId: id, path: request.stagingPath });
  const device = await hostedDevice(parts, id, deadline);
  if (device === undefined) throw notStaged();
  const stagingPath = await canonicalPath(request.stagingPath).catch(() => {
    throw notStaged();
  });
  const table = await MountTable.read();
  const there = table.at(stagingPath);
  if (kind === 'mount') {
    if (there === undefined || there.deviceNumber !== device.number) throw notStaged();
  } else {
    const record = await parts.records.read(id);
    if (there !== undefined || (record !== undefined && record.kind !== 'block')) throw notStaged();
    if ((await kindOfPath(stagingPath)) === 'missing') throw notStaged();
  }
  return { device, stagingPath, table };
}
