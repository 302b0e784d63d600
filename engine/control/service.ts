import { NabuError } from '../../common/errors/index.ts';
import type { Handlers, StreamContext } from '../../common/grpc/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { nabustore } from '../../proto/gen/messages.js';
import type { services } from '../../proto/gen/services.js';
import { isVolumeId, nodeId, type VolumeId } from '../blob/index.ts';
import { runChanges } from './change-batch.ts';
import { changesOf } from './map-changes.ts';
import type { Membership, Registration } from './membership.ts';
import { NodeReports } from './node-reports.ts';
import { VolumeReports } from './volume-reports.ts';
import type { StoredVolume } from './volume-table.ts';
import { MAX_LIST, type Volumes } from './volumes.ts';
import { mapToWire, nodeToWire, volumeToWire } from './wire.ts';

export type ControlHandlers = Handlers<(typeof services)['nabustore.v1.Control']>;

export type ControlServiceOptions = {
  readonly membership: Membership;
  readonly volumes: Volumes;
  readonly clock: Clock;
  readonly version: string;
};

function required(field: string): NabuError {
  return NabuError.of('INVALID_ARGUMENT', { field, reason: 'is missing' });
}

/** An id that cannot be one names no volume: the caller learns the same as for one that was deleted. */
function volumeIdOf(text: string): VolumeId {
  if (text === '') throw required('id');
  if (!isVolumeId(text)) throw NabuError.of('VOLUME_NOT_FOUND', { volumeId: text });
  return text;
}

function safeNumber(field: string, value: bigint): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw NabuError.of('OUT_OF_RANGE', { field, reason: `${value} is more than ${Number.MAX_SAFE_INTEGER}` });
}

function registrationOf(request: nabustore.v1.RegisterNodeRequest): Registration {
  const id = nodeId(request.nodeId);
  if (request.address === null) throw required('address');
  const { zone, rack, host } = request.domain ?? { zone: '', rack: '', host: '' };
  return {
    id,
    address: request.address,
    domain: { zone: zone || 'default', rack: rack || 'default', host: host || id },
    weight: request.weight,
    capacityBytes: safeNumber('capacityBytes', request.capacityBytes),
    deviceId: request.deviceId === '' ? undefined : request.deviceId,
    incarnation: request.incarnation.toString(),
    clusterId: request.clusterId,
  };
}

/** nabustore.v1.Control: checks what comes in, hands it to Membership and Volumes, turns the result into messages. */
export function controlHandlers({ membership, volumes, clock, version }: ControlServiceOptions): ControlHandlers {
  const reports = new VolumeReports(clock);
  const nodeReports = new NodeReports(clock, () => membership.current());
  const answer = (volume: StoredVolume): ReturnType<typeof volumeToWire> =>
    volumeToWire(volume, reports.of(volume.record.id));

  async function* watchMap(request: nabustore.v1.WatchMapRequest, { signal }: StreamContext) {
    for await (const map of changesOf(membership, signal, Number(request.knownEpoch))) yield mapToWire(map);
  }

  const create = async (request: nabustore.v1.CreateVolumeRequest) => answer(await volumes.create(request));
  const remove = async (request: nabustore.v1.DeleteVolumeRequest) => {
    if (request.id === '') throw required('id');
    if (!isVolumeId(request.id)) return { existed: false };
    const existed = await volumes.delete(request.id);
    reports.forget(request.id);
    return { existed };
  };

  return {
    health: async () => {
      const map = membership.current();
      return {
        ready: true,
        version,
        mapEpoch: map.epoch,
        nodes: map.nodes.length,
        volumes: volumes.count,
        clusterId: map.clusterId,
      };
    },
    registerNode: async (request) => {
      const registration = registrationOf(request);
      const firstStore = await membership.isFirstStore(registration);
      const genesis = volumes.genesis && firstStore; // before the node is in the map: a first volume may come at once
      const map = await membership.register(registration);
      return { map: mapToWire(map), genesis };
    },
    listNodes: async () => {
      const map = membership.current();
      return { nodes: map.nodes.map(nodeToWire), epoch: map.epoch };
    },
    setNodeState: async (request) => mapToWire(await membership.setState(nodeId(request.nodeId), request.state)),
    getMap: async () => mapToWire(membership.current()),
    watchMap,

    createVolume: create,
    deleteVolume: remove,
    changeVolumes: async ({ changes }) => ({ results: await runChanges(changes, { create, remove }) }),
    getVolume: async (request) => {
      if (request.by === 'name' && request.name !== undefined) return answer(await volumes.getByName(request.name));
      return answer(await volumes.get(volumeIdOf(request.id ?? '')));
    },
    listVolumes: async ({ pageToken, limit }) => {
      if (pageToken !== '' && !isVolumeId(pageToken)) {
        throw NabuError.of('ABORTED', {
          operation: 'ListVolumes',
          reason: 'the page token is not one that was given out',
        });
      }
      if (limit > MAX_LIST) {
        throw NabuError.of('OUT_OF_RANGE', { field: 'limit', reason: `${limit} is more than ${MAX_LIST}` });
      }
      const { volumes: page, next } = await volumes.list(pageToken, limit);
      return { volumes: page.map(answer), nextPageToken: next };
    },
    attachVolume: async ({ id, nodeName, readOnly }) =>
      answer(await volumes.attach(volumeIdOf(id), nodeName, readOnly)),
    detachVolume: async ({ id, nodeName }) => answer(await volumes.detach(volumeIdOf(id), nodeName)),
    expandVolume: async ({ id, sizeBytes }) => answer(await volumes.expand(volumeIdOf(id), sizeBytes)),
    getCapacity: async ({ policy }) => volumes.capacity(policy),
    reportVolume: async ({ id, generation, report }) => {
      if (report === null) throw required('report');
      const { record } = await volumes.get(volumeIdOf(id));
      if (generation < record.generation) {
        throw NabuError.of('EPOCH_STALE', { id, epoch: generation, currentEpoch: record.generation });
      }
      reports.take(record.id, report);
      return {};
    },
    reportNode: async ({ nodeId: id, report }) => {
      if (report === null) throw required('report');
      nodeReports.take(nodeId(id), report);
      return {};
    },
    listNodeReports: async () => ({ reports: nodeReports.list() }),
  };
}
