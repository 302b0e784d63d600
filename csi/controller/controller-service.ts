import type { Deadline } from '../../common/concurrency/index.ts';
import type { Handlers } from '../../common/grpc/index.ts';
import { csi } from '../../proto/gen/messages.js';
import type { services } from '../../proto/gen/services.js';
import type { VolumeControl, VolumeRecord } from '../ports.ts';
import {
  chooseExpandedSize,
  isReachable,
  parseCapabilities,
  parseCapability,
  parseParameters,
  refuse,
  refuseSecrets,
  requireVolumeId,
  volumeIdOf,
} from '../request/index.ts';
import type { Attachments } from './attachments.ts';
import { createVolume } from './create-volume.ts';
import { listPage } from './list-volumes.ts';
import { validateCapabilities } from './validate-volume.ts';
import { smallestVolumeBytes } from './volume-size.ts';
import { conditionOf, publishedNodes, toCsiVolume } from './volume-view.ts';
import type { Zones } from './zones.ts';

const { Type } = csi.v1.ControllerServiceCapability.RPC;

/** What docs/csi.md lists; whatever is not here is a skip of csi-sanity with a reason there. */
export const CONTROLLER_CAPABILITIES = [
  'CREATE_DELETE_VOLUME',
  'PUBLISH_UNPUBLISH_VOLUME',
  'LIST_VOLUMES',
  'GET_CAPACITY',
  'PUBLISH_READONLY',
  'EXPAND_VOLUME',
  'LIST_VOLUMES_PUBLISHED_NODES',
  'VOLUME_CONDITION',
  'GET_VOLUME',
  'SINGLE_NODE_MULTI_WRITER',
] as const satisfies readonly (keyof typeof Type)[];

export type ControllerOptions = {
  readonly control: VolumeControl;
  readonly attachments: Attachments;
  readonly zones: Zones;
};

type Controller = Handlers<(typeof services)['csi.v1.Controller']>;

/** CSI 1.12 Controller: parses, asks control, answers. Control keeps all state, so this process may die at any point. */
export function controllerHandlers({ control, attachments, zones }: ControllerOptions): Controller {
  const view = async (record: VolumeRecord, deadline: Deadline) => toCsiVolume(record, await zones.list(deadline));

  return {
    controllerGetCapabilities: async () => ({
      capabilities: CONTROLLER_CAPABILITIES.map((name) => ({ rpc: { type: Type[name] } })),
    }),

    createVolume: async (request, { deadline }) => ({
      volume: await createVolume({ control, zones }, request, deadline),
    }),

    deleteVolume: async (request, { deadline }) => {
      const id = volumeIdOf('volume_id', request.volumeId);
      refuseSecrets(request.secrets);
      if (id !== undefined) await control.deleteVolume(id, deadline);
      return {};
    },

    controllerPublishVolume: async (request, { deadline }) => ({
      publishContext: await attachments.publish(request, deadline),
    }),

    controllerUnpublishVolume: async (request, { deadline }) => {
      await attachments.unpublish(request, deadline);
      return {};
    },

    validateVolumeCapabilities: async (request, { deadline }) => {
      if (request.volumeId === '') throw refuse('volume_id', 'is missing');
      parseCapabilitiesPresent(request.volumeCapabilities);
      refuseSecrets(request.secrets);
      const record = await control.getVolume(requireVolumeId('volume_id', request.volumeId), deadline);
      return validateCapabilities(record, request);
    },

    listVolumes: async (request, { deadline }) => listPage(control, await zones.list(deadline), request, deadline),

    getCapacity: async (request, { deadline }) => {
      if (request.volumeCapabilities.length > 0) parseCapabilities('volume_capabilities', request.volumeCapabilities);
      const { policy } = parseParameters(request.parameters, undefined);
      const { availableBytes, maxVolumeBytes } = await control.getCapacity(policy, deadline);
      const reachable = isReachable(request.accessibleTopology, await zones.list(deadline));
      return {
        availableCapacity: reachable ? availableBytes : 0n,
        maximumVolumeSize: { value: reachable ? maxVolumeBytes : 0n },
        minimumVolumeSize: { value: smallestVolumeBytes(undefined) },
      };
    },

    controllerExpandVolume: async (request, { deadline }) => {
      const id = volumeIdOf('volume_id', request.volumeId);
      refuseSecrets(request.secrets);
      if (request.volumeCapability !== null) parseCapability('volume_capability', request.volumeCapability);
      chooseExpandedSize(request.capacityRange, 0n); // a malformed range is told before a missing volume
      const record = await control.getVolume(id ?? requireVolumeId('volume_id', request.volumeId), deadline);
      const sizeBytes = chooseExpandedSize(request.capacityRange, record.sizeBytes);
      const grown =
        sizeBytes > record.sizeBytes ? await control.expandVolume({ id: record.id, sizeBytes }, deadline) : record;
      return { capacityBytes: grown.sizeBytes, nodeExpansionRequired: true };
    },

    controllerGetVolume: async (request, { deadline }) => {
      const record = await control.getVolume(requireVolumeId('volume_id', request.volumeId), deadline);
      return {
        volume: await view(record, deadline),
        status: { publishedNodeIds: publishedNodes(record), volumeCondition: conditionOf(record) },
      };
    },
  };
}

/** An empty list is a malformed request whatever the volume is; what is in it is judged against the volume. */
function parseCapabilitiesPresent(capabilities: readonly csi.v1.VolumeCapability[]): void {
  if (capabilities.length === 0) throw refuse('volume_capabilities', 'is missing');
}
