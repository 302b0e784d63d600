import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { csi } from '../../proto/gen/messages.js';
import { FS_TYPES, parseCapability, refuse, refuseSecrets } from '../request/index.ts';
import { blockDeviceSize } from './block-device.ts';
import { growFilesystem } from './filesystem.ts';
import type { NodeParts } from './node-parts.ts';
import { parseVolumePath, volumeAt } from './volume-stats.ts';

export function checkExpandRequest(request: csi.v1.NodeExpandVolumeRequest): ReturnType<typeof parseVolumePath> {
  const place = parseVolumePath(request);
  refuseSecrets(request.secrets);
  if (request.volumeCapability !== null) parseCapability('volume_capability', request.volumeCapability);
  const { requiredBytes, limitBytes } = request.capacityRange ?? { requiredBytes: 0n, limitBytes: 0n };
  if (requiredBytes < 0n || limitBytes < 0n) throw refuse('capacity_range', 'is negative');
  return place;
}

/** CSI 1.12 NodeExpandVolume, online: the device grows to what control says the volume has, then the file system to the device. */
export async function expandVolume(
  parts: NodeParts,
  request: csi.v1.NodeExpandVolumeRequest,
  deadline: Deadline,
): Promise<bigint> {
  const { id, path } = checkExpandRequest(request);
  const { mount, device } = await volumeAt(parts, id, path, deadline);
  const { sizeBytes } = await parts.control.getVolume(id, deadline);
  const { requiredBytes, limitBytes } = request.capacityRange ?? { requiredBytes: 0n, limitBytes: 0n };
  if (requiredBytes > sizeBytes) {
    const reason = `the volume has ${sizeBytes} bytes: ControllerExpandVolume comes first`;
    throw NabuError.of('OUT_OF_RANGE', { field: 'capacity_range.required_bytes', reason });
  }
  if (limitBytes !== 0n && limitBytes < sizeBytes) {
    const reason = `the volume has ${sizeBytes} bytes already`;
    throw NabuError.of('OUT_OF_RANGE', { field: 'capacity_range.limit_bytes', reason });
  }
  if ((await blockDeviceSize(device)) < sizeBytes) await parts.host.expandVolume({ id, sizeBytes }, deadline);
  if (mount.deviceNumber === device.number) {
    const fsType = FS_TYPES.find((known) => known === mount.fsType);
    if (fsType === undefined) {
      const reason = `${mount.fsType} cannot be grown by this plugin`;
      throw NabuError.of('FAILED_PRECONDITION', { operation: 'expanding the file system', reason });
    }
    await growFilesystem({ fsType, device, path: mount.mountPoint }, { deadline, logger: parts.logger });
  }
  return sizeBytes;
}
