import type { Deadline } from '../../common/concurrency/index.ts';
import type { MessageInit } from '../../common/grpc/index.ts';
import type { csi } from '../../proto/gen/messages.js';
import type { VolumeControl } from '../ports.ts';
import { refuse } from '../request/index.ts';
import { conditionOf, publishedNodes, toCsiVolume } from './volume-view.ts';

/** About 250 bytes each: a page stays far below the message limit. */
const MAX_PAGE = 1000;

/** CSI 1.12 ListVolumes. The token is control's own, the id of the last volume: it holds also when that one is deleted. */
export async function listPage(
  control: VolumeControl,
  zones: readonly string[],
  request: csi.v1.ListVolumesRequest,
  deadline: Deadline,
): Promise<MessageInit<csi.v1.ListVolumesResponse>> {
  if (request.maxEntries < 0) throw refuse('max_entries', 'is negative');
  const limit = request.maxEntries === 0 ? MAX_PAGE : Math.min(request.maxEntries, MAX_PAGE);
  const page = await control.listVolumes({ token: request.startingToken, limit }, deadline);
  return {
    entries: page.volumes.map((record) => ({
      volume: toCsiVolume(record, zones),
      status: { publishedNodeIds: publishedNodes(record), volumeCondition: conditionOf(record) },
    })),
    nextToken: page.nextToken,
  };
}
