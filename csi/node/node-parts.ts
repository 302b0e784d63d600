import type { Deadline } from '../../common/concurrency/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { VolumeId } from '../../engine/blob/index.ts';
import type { Flights } from '../flights.ts';
import type { VolumeControl, VolumeHost } from '../ports.ts';
import { type BlockDevice, isSameLife, openBlockDevice } from './block-device.ts';
import type { StagedRecord, StagedRecords } from './staged-records.ts';

/** What every call of the node service works with. */
export type NodeParts = {
  readonly nodeName: string;
  readonly control: VolumeControl;
  readonly host: VolumeHost;
  readonly records: StagedRecords;
  readonly flights: Flights;
  readonly logger: Logger;
};

/** The device of a volume that is open on this machine; undefined when it is not, or has no device yet. */
export async function hostedDevice(
  parts: Pick<NodeParts, 'host'>,
  id: VolumeId,
  deadline: Deadline,
): Promise<BlockDevice | undefined> {
  const hosted = await parts.host.getVolume(id, deadline);
  return hosted === undefined || hosted.devicePath === '' ? undefined : await openBlockDevice(hosted.devicePath);
}

/** The same, or when its server lost the volume, the device that it had when it was staged: its mounts are still there. */
export async function knownDevice(
  parts: Pick<NodeParts, 'host'>,
  id: VolumeId,
  record: StagedRecord | undefined,
  deadline: Deadline,
): Promise<BlockDevice | undefined> {
  const hosted = await hostedDevice(parts, id, deadline);
  if (hosted !== undefined) return hosted;
  const noted = record?.device;
  return noted !== undefined && (await isSameLife(noted)) ? noted : undefined;
}
