import type { Handlers, MessageInit } from '../../common/grpc/index.ts';
import type { nabustore } from '../../proto/gen/messages.js';
import type { services } from '../../proto/gen/services.js';
import { volumeId } from '../blob/index.ts';
import type { HostedVolume } from './hosted-volume.ts';
import { VOLUME_BLOCK } from './native.ts';
import type { VolumeHost } from './volume-host.ts';

type HostHandlers = Handlers<(typeof services)['nabustore.v1.VolumeHost']>;

export function hostedVolumeMessage(volume: HostedVolume): MessageInit<nabustore.v1.HostedVolume> {
  const { meta, status } = volume;
  const stats = status?.stats;
  return {
    volumeId: volume.id,
    devicePath: volume.device,
    sizeBytes: BigInt(meta.sizeBytes),
    state: volume.state,
    reason: volume.failure?.message ?? status?.reason ?? '',
    waitingOn: volume.waits.map(({ operation, key, nodes, reason }) => ({ operation, key, nodes: [...nodes], reason })),
    generation: BigInt(meta.generation),
    readOnly: meta.readOnly,
    ioTimeoutMs: meta.ioTimeoutMs,
    incarnation: status?.epoch.incarnation ?? 0n,
    unreachableNodes: [...(status?.unreachableNodes ?? [])],
    checkpointSequence: status?.checkpointSequence ?? 0n,
    unsealedBytes: BigInt(stats?.unsealedBytes ?? 0),
    logSequence: stats?.committedSequence ?? 0n,
    liveBytes: BigInt((stats?.liveBlocks ?? 0) * VOLUME_BLOCK),
    logBytes: BigInt((stats?.totalBlocks ?? 0) * VOLUME_BLOCK),
    waitingRequests: BigInt((stats?.waitingReads ?? 0) + (stats?.waitingWrites ?? 0) + (stats?.waitingFlushes ?? 0)),
    oldestWaitMs: BigInt(Math.floor(stats?.oldestWaitMs ?? 0)),
  };
}

/** nabustore.v1.VolumeHost over a host. */
export function hostHandlers(host: VolumeHost): HostHandlers {
  return {
    openVolume: async ({ volumeId: id, generation, readOnly, ioTimeoutMs }, { deadline }) =>
      hostedVolumeMessage(await host.open(volumeId(id), { generation, readOnly, ioTimeoutMs }, deadline)),
    closeVolume: async ({ volumeId: id, force }, { deadline }) => ({
      existed: await host.close(volumeId(id), force, deadline),
    }),
    expandVolume: async ({ volumeId: id, sizeBytes }, { deadline }) =>
      hostedVolumeMessage(await host.expand(volumeId(id), sizeBytes, deadline)),
    flushVolume: async ({ volumeId: id }, { deadline }) => {
      await host.flush(volumeId(id), deadline);
      return {};
    },
    getVolume: async ({ volumeId: id }) => hostedVolumeMessage(host.get(volumeId(id))),
    listVolumes: async () => ({ volumes: host.volumes.map(hostedVolumeMessage) }),
  };
}
