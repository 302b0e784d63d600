import { statfs } from 'node:fs/promises';
import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { MessageInit } from '../../common/grpc/index.ts';
import type { VolumeId } from '../../engine/blob/index.ts';
import { csi } from '../../proto/gen/messages.js';
import type { HostedVolume } from '../ports.ts';
import { refuse, requireVolumeId } from '../request/index.ts';
import { type BlockDevice, blockDeviceSize } from './block-device.ts';
import { isMountOf, type Mount, MountTable } from './mount-table.ts';
import { knownDevice, type NodeParts } from './node-parts.ts';
import { canonicalPath } from './target-path.ts';

const { BYTES, INODES } = csi.v1.VolumeUsage.Unit;

/** The volume at a path of this node. Throws VOLUME_NOT_PUBLISHED when it is not there. */
export async function volumeAt(
  parts: NodeParts,
  id: VolumeId,
  path: string,
  deadline: Deadline,
): Promise<{ readonly mount: Mount; readonly device: BlockDevice }> {
  const notThere = (): NabuError => NabuError.of('VOLUME_NOT_PUBLISHED', { volumeId: id, path });
  const device = await knownDevice(parts, id, await parts.records.read(id), deadline);
  if (device === undefined || !path.startsWith('/')) throw notThere();
  const canonical = await canonicalPath(path).catch(() => {
    throw notThere();
  });
  const mount = (await MountTable.read()).at(canonical);
  if (mount === undefined || !(await isMountOf(mount, device))) throw notThere();
  return { mount, device };
}

export function parseVolumePath(request: { readonly volumeId: string; readonly volumePath: string }): {
  readonly id: VolumeId;
  readonly path: string;
} {
  if (request.volumeId === '') throw refuse('volume_id', 'is missing');
  if (request.volumePath === '') throw refuse('volume_path', 'is missing');
  if (request.volumePath.includes('\0')) throw refuse('volume_path', 'has a NUL');
  return { id: requireVolumeId('volume_id', request.volumeId), path: request.volumePath.replace(/(.)\/+$/, '$1') };
}

function conditionOf(hosted: HostedVolume | undefined): csi.v1.VolumeCondition {
  if (hosted === undefined) return { abnormal: true, message: 'its volume server does not have it open' };
  const abnormal = hosted.state === 'waiting' || hosted.state === 'failed';
  return { abnormal, message: hosted.reason === '' ? hosted.state : `${hosted.state}: ${hosted.reason}` };
}

async function usageOf(mount: Mount, device: BlockDevice): Promise<MessageInit<csi.v1.VolumeUsage>[]> {
  if (mount.deviceNumber !== device.number) {
    // Of a raw block volume only its user knows what is used.
    return [{ unit: BYTES, total: await blockDeviceSize(device) }];
  }
  const fs = await statfs(mount.mountPoint, { bigint: true });
  return [
    {
      unit: BYTES,
      total: fs.blocks * fs.bsize,
      available: fs.bavail * fs.bsize,
      used: (fs.blocks - fs.bfree) * fs.bsize,
    },
    { unit: INODES, total: fs.files, available: fs.ffree, used: fs.files - fs.ffree },
  ];
}

/** CSI 1.12 NodeGetVolumeStats: bytes and inodes of a file system, the size of a raw device, and how the volume is. */
export async function volumeStats(
  parts: NodeParts,
  request: csi.v1.NodeGetVolumeStatsRequest,
  deadline: Deadline,
): Promise<MessageInit<csi.v1.NodeGetVolumeStatsResponse>> {
  const { id, path } = parseVolumePath(request);
  const { mount, device } = await volumeAt(parts, id, path, deadline);
  // A file system whose volume waits for nodes may answer late: the caller gets its deadline, not a hung call.
  const usage = await deadline.race(usageOf(mount, device));
  return { usage, volumeCondition: conditionOf(await parts.host.getVolume(id, deadline)) };
}
