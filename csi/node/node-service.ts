import type { Handlers } from '../../common/grpc/index.ts';
import { csi } from '../../proto/gen/messages.js';
import type { services } from '../../proto/gen/services.js';
import { refuse, requirePath, volumeIdOf, ZONE_KEY } from '../request/index.ts';
import { checkExpandRequest, expandVolume } from './expand-volume.ts';
import type { NodeParts } from './node-parts.ts';
import { parsePublishRequest, publishVolume, unpublishVolume } from './publish-volume.ts';
import { parseStageRequest, stageVolume, unstageVolume } from './stage-volume.ts';
import { volumeStats } from './volume-stats.ts';

const { Type } = csi.v1.NodeServiceCapability.RPC;

export const NODE_CAPABILITIES = [
  'STAGE_UNSTAGE_VOLUME',
  'GET_VOLUME_STATS',
  'EXPAND_VOLUME',
  'VOLUME_CONDITION',
  'SINGLE_NODE_MULTI_WRITER',
] as const satisfies readonly (keyof typeof Type)[];

export type NodeServiceOptions = {
  readonly parts: NodeParts;
  readonly zone: string;
  /** 0: no limit. */
  readonly maxVolumes: number;
};

type Node = Handlers<(typeof services)['csi.v1.Node']>;

/** CSI 1.12 Node. Requests are parsed at once; what changes the node runs under the lock of its volume. */
export function nodeHandlers({ parts, zone, maxVolumes }: NodeServiceOptions): Node {
  const { flights } = parts;
  return {
    nodeGetCapabilities: async () => ({
      capabilities: NODE_CAPABILITIES.map((name) => ({ rpc: { type: Type[name] } })),
    }),

    nodeGetInfo: async () => ({
      nodeId: parts.nodeName,
      maxVolumesPerNode: BigInt(maxVolumes),
      // The zone alone. external-provisioner publishes one CSIStorageCapacity per class and distinct set of segments: with the node among
      // them that is one per node, each to be asked for and written anew after each volume, and all of them the same.
      accessibleTopology: { segments: { [ZONE_KEY]: zone } },
    }),

    nodeStageVolume: async (request, { signal, deadline: caller }) => {
      const stage = parseStageRequest(request);
      await flights.run({ operation: 'NodeStageVolume', key: stage.id, request, signal }, (deadline) =>
        stageVolume(parts, stage, deadline, caller.remainingMs()),
      );
      return {};
    },

    nodeUnstageVolume: async (request, { signal }) => {
      if (request.volumeId === '') throw refuse('volume_id', 'is missing');
      const stagingPath = requirePath('staging_target_path', request.stagingTargetPath);
      const id = volumeIdOf('volume_id', request.volumeId);
      if (id === undefined) return {}; // no volume of ours, so not staged by us
      await flights.run({ operation: 'NodeUnstageVolume', key: id, request, signal }, (deadline) =>
        unstageVolume(parts, { id, stagingPath }, deadline),
      );
      return {};
    },

    nodePublishVolume: async (request, { signal }) => {
      const publish = parsePublishRequest(request);
      await flights.run({ operation: 'NodePublishVolume', key: publish.id, request, signal }, (deadline) =>
        publishVolume(parts, publish, deadline),
      );
      return {};
    },

    nodeUnpublishVolume: async (request, { signal }) => {
      if (request.volumeId === '') throw refuse('volume_id', 'is missing');
      const targetPath = requirePath('target_path', request.targetPath);
      const id = volumeIdOf('volume_id', request.volumeId);
      if (id === undefined) return {};
      await flights.run({ operation: 'NodeUnpublishVolume', key: id, request, signal }, (deadline) =>
        unpublishVolume(parts, { id, targetPath }, deadline),
      );
      return {};
    },

    nodeGetVolumeStats: async (request, { deadline }) => volumeStats(parts, request, deadline),

    nodeExpandVolume: async (request, { signal }) => {
      const { id } = checkExpandRequest(request);
      const capacityBytes = await flights.run({ operation: 'NodeExpandVolume', key: id, request, signal }, (deadline) =>
        expandVolume(parts, request, deadline),
      );
      return { capacityBytes };
    },
  };
}
