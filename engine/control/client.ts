import {
  type ClientOf,
  GrpcClient,
  type MessageInit,
  type SocketAddress,
  type UnaryOptions,
} from '../../common/grpc/index.ts';
import type { nabustore } from '../../proto/gen/messages.js';
import { services } from '../../proto/gen/services.js';
import type { ClusterMap } from '../placement/index.ts';
import { ChangeBatcher } from './change-batcher.ts';
import { mapFromWire } from './wire.ts';

type ControlService = (typeof services)['nabustore.v1.Control'];
/** A volume as control tells it: every field present, 64-bit integers as bigint. */
export type Volume = nabustore.v1.Volume;
export type CreateVolumeInit = MessageInit<nabustore.v1.CreateVolumeRequest>;
export type VolumeReportInit = MessageInit<nabustore.v1.VolumeReport>;
export type RegisterNodeInit = MessageInit<nabustore.v1.RegisterNodeRequest>;
export type NodeReportInit = MessageInit<nabustore.v1.NodeReport>;
/** What a stor-node last told of itself, and how long ago. */
export type AgedNodeReport = nabustore.v1.AgedNodeReport;

/** Control, as csi, the command line, volume servers and stor-nodes see it. Errors are control's own NabuErrors, or UNAVAILABLE. */
export class ControlClient {
  readonly #client: GrpcClient;
  readonly #calls: ClientOf<ControlService>;
  readonly #changes: ChangeBatcher;

  constructor(address: SocketAddress) {
    this.#client = new GrpcClient({ address, maxMessageBytes: 16 << 20 });
    this.#calls = this.#client.service(services['nabustore.v1.Control']);
    this.#changes = new ChangeBatcher((request, o) => this.#calls.changeVolumes(request, o));
  }

  waitForReady(timeoutMs: number): Promise<void> {
    return this.#client.waitForReady(timeoutMs);
  }

  health(o: UnaryOptions): Promise<nabustore.v1.HealthResponse> {
    return this.#calls.health({}, o);
  }

  async registerNode(node: RegisterNodeInit, o: UnaryOptions): Promise<{ map: ClusterMap; genesis: boolean }> {
    const { map, genesis } = await this.#calls.registerNode(node, o);
    return { map: mapFromWire(map ?? { clusterId: '', epoch: 0n, nodes: [] }), genesis };
  }

  listNodes(o: UnaryOptions): Promise<nabustore.v1.ListNodesResponse> {
    return this.#calls.listNodes({}, o);
  }

  async setNodeState(nodeId: string, state: string, o: UnaryOptions): Promise<ClusterMap> {
    return mapFromWire(await this.#calls.setNodeState({ nodeId, state }, o));
  }

  async getMap(o: UnaryOptions): Promise<ClusterMap> {
    return mapFromWire(await this.#calls.getMap({}, o));
  }

  /** Ends with an error when the connection does; call again to go on. */
  async *watchMap(knownEpoch: number, signal: AbortSignal): AsyncGenerator<ClusterMap> {
    for await (const map of this.#calls.watchMap({ knownEpoch }, { signal })) yield mapFromWire(map);
  }

  createVolume(request: CreateVolumeInit, o: UnaryOptions): Promise<Volume> {
    return this.#changes.create(request, o);
  }

  /** False when there was none. */
  async deleteVolume(id: string, o: UnaryOptions): Promise<boolean> {
    return (await this.#changes.remove({ id }, o)).existed;
  }

  getVolume(id: string, o: UnaryOptions): Promise<Volume> {
    return this.#calls.getVolume({ id }, o);
  }

  getVolumeByName(name: string, o: UnaryOptions): Promise<Volume> {
    return this.#calls.getVolume({ name }, o);
  }

  listVolumes(
    page: { pageToken?: string; limit?: number },
    o: UnaryOptions,
  ): Promise<nabustore.v1.ListVolumesResponse> {
    return this.#calls.listVolumes(page, o);
  }

  attachVolume(request: { id: string; nodeName: string; readOnly?: boolean }, o: UnaryOptions): Promise<Volume> {
    return this.#calls.attachVolume(request, o);
  }

  /** Without `nodeName`: from whoever holds it. */
  detachVolume(request: { id: string; nodeName?: string }, o: UnaryOptions): Promise<Volume> {
    return this.#calls.detachVolume(request, o);
  }

  expandVolume(id: string, sizeBytes: bigint, o: UnaryOptions): Promise<Volume> {
    return this.#calls.expandVolume({ id, sizeBytes }, o);
  }

  /** '' asks about the cluster's default policy. */
  getCapacity(policy: string, o: UnaryOptions): Promise<nabustore.v1.GetCapacityResponse> {
    return this.#calls.getCapacity({ policy }, o);
  }

  async reportVolume(id: string, generation: bigint, report: VolumeReportInit, o: UnaryOptions): Promise<void> {
    await this.#calls.reportVolume({ id, generation, report }, o);
  }

  async reportNode(nodeId: string, report: NodeReportInit, o: UnaryOptions): Promise<void> {
    await this.#calls.reportNode({ nodeId, report }, o);
  }

  /** UNIMPLEMENTED from a control that is older than these. */
  async listNodeReports(o: UnaryOptions): Promise<readonly AgedNodeReport[]> {
    return (await this.#calls.listNodeReports({}, o)).reports;
  }

  close(): void {
    this.#client.close();
  }
}
