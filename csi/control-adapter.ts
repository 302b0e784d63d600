import type { Deadline } from '../common/concurrency/index.ts';
import { NabuError } from '../common/errors/index.ts';
import { isVolumeId, type VolumeId } from '../engine/blob/index.ts';
import type { ControlClient, Volume } from '../engine/control/index.ts';
import type { Capacity, VolumeControl, VolumeRecord, VolumeSpec } from './ports.ts';

function toRecord(volume: Volume): VolumeRecord {
  if (!isVolumeId(volume.id)) {
    throw NabuError.of('PROTOCOL_ERROR', {
      peer: 'control',
      reason: 'it answered with something that is no volume id',
    });
  }
  return { ...volume, id: volume.id };
}

/** Control as the plugin needs it. */
export function controlOver(client: ControlClient): VolumeControl {
  return {
    createVolume: async (spec: VolumeSpec, deadline: Deadline) =>
      toRecord(await client.createVolume(spec, { deadline })),
    deleteVolume: async (id: VolumeId, deadline: Deadline) => void (await client.deleteVolume(id, { deadline })),
    getVolume: async (id: VolumeId, deadline: Deadline) => toRecord(await client.getVolume(id, { deadline })),
    listVolumes: async ({ token, limit }, deadline) => {
      const page = await client.listVolumes({ pageToken: token, limit }, { deadline });
      return { volumes: page.volumes.map(toRecord), nextToken: page.nextPageToken };
    },
    attachVolume: async (request, deadline) => toRecord(await client.attachVolume(request, { deadline })),
    detachVolume: async (request, deadline) => void (await client.detachVolume(request, { deadline })),
    expandVolume: async ({ id, sizeBytes }, deadline) =>
      toRecord(await client.expandVolume(id, sizeBytes, { deadline })),
    getCapacity: async (policy: string, deadline: Deadline): Promise<Capacity> =>
      await client.getCapacity(policy, { deadline }),
    listZones: async (deadline: Deadline) => {
      const { nodes } = await client.listNodes({ deadline });
      return nodes.flatMap((node) => (node.state === 'out' || node.domain === null ? [] : [node.domain.zone]));
    },
    ready: async (deadline: Deadline) => (await client.health({ deadline })).ready,
  };
}
