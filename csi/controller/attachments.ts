import { type Deadline, KeyedMutex } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { VolumeId } from '../../engine/blob/index.ts';
import type { csi } from '../../proto/gen/messages.js';
import type { VolumeControl, VolumeRecord } from '../ports.ts';
import {
  isReadOnlyMode,
  parseCapability,
  printable,
  refuse,
  refuseSecrets,
  requireNodeName,
  requireVolumeId,
  volumeIdOf,
} from '../request/index.ts';

export type AttachmentsOptions = {
  readonly control: VolumeControl;
  /** Nodes that exist; undefined: the orchestrator knows them and this process does not. */
  readonly knownNodes: ReadonlySet<string> | undefined;
  /** Volumes of one node; 0: no limit. */
  readonly maxVolumesPerNode: number;
};

const PAGE = 1000;
const MAX_WAITERS = 1024;

/** CSI 1.12 ControllerPublishVolume and its opposite: who may write, as attach generations of control. */
export class Attachments {
  readonly #control: VolumeControl;
  readonly #knownNodes: ReadonlySet<string> | undefined;
  readonly #limit: number;
  readonly #nodes = new KeyedMutex<string>({ name: 'attachments of node', maxWaiters: MAX_WAITERS });
  /** A cache for the limit alone: whatever it says, control is asked again before anybody is refused. */
  readonly #volumesOf = new Map<string, Set<VolumeId>>();

  constructor({ control, knownNodes, maxVolumesPerNode }: AttachmentsOptions) {
    this.#control = control;
    this.#knownNodes = knownNodes;
    this.#limit = maxVolumesPerNode;
  }

  async publish(
    request: csi.v1.ControllerPublishVolumeRequest,
    deadline: Deadline,
  ): Promise<Readonly<Record<string, string>>> {
    if (request.volumeId === '') throw refuse('volume_id', 'is missing');
    const nodeName = requireNodeName('node_id', request.nodeId);
    const capability = parseCapability('volume_capability', request.volumeCapability);
    refuseSecrets(request.secrets);
    const id = requireVolumeId('volume_id', request.volumeId);
    if (this.#knownNodes !== undefined && !this.#knownNodes.has(nodeName)) {
      throw NabuError.of('NODE_NOT_FOUND', { nodeId: printable(nodeName) });
    }
    const readOnly = request.readonly || isReadOnlyMode(capability.mode);
    const { attachment } = await this.#attachWithinLimit(id, nodeName, readOnly, deadline);
    return { generation: String(attachment?.generation ?? 0n), readOnly: String(readOnly) };
  }

  async unpublish(request: csi.v1.ControllerUnpublishVolumeRequest, deadline: Deadline): Promise<void> {
    const id = volumeIdOf('volume_id', request.volumeId);
    const nodeName = request.nodeId === '' ? '' : requireNodeName('node_id', request.nodeId);
    refuseSecrets(request.secrets);
    if (id === undefined) return;
    try {
      await this.#control.detachVolume({ id, nodeName }, deadline);
    } catch (err) {
      if (!NabuError.is(err, 'VOLUME_NOT_FOUND')) throw err; // what is gone is not attached
    }
    for (const [name, volumes] of this.#volumesOf) if (nodeName === '' || name === nodeName) volumes.delete(id);
  }

  async #attachWithinLimit(
    id: VolumeId,
    nodeName: string,
    readOnly: boolean,
    deadline: Deadline,
  ): Promise<VolumeRecord> {
    const attach = () => this.#control.attachVolume({ id, nodeName, readOnly }, deadline);
    if (this.#limit === 0) return await attach();
    // One after another per node: two at once could both see the last free place.
    return await this.#nodes.run(
      nodeName,
      async () => {
        let volumes = this.#volumesOf.get(nodeName) ?? (await this.#count(nodeName, deadline));
        if (volumes.size >= this.#limit && !volumes.has(id)) volumes = await this.#count(nodeName, deadline);
        if (volumes.size >= this.#limit && !volumes.has(id)) {
          throw NabuError.of('ATTACH_LIMIT', { nodeName, limit: this.#limit });
        }
        const record = await attach();
        volumes.add(id);
        return record;
      },
      deadline.signal,
    );
  }

  async #count(nodeName: string, deadline: Deadline): Promise<Set<VolumeId>> {
    const volumes = new Set<VolumeId>();
    let token = '';
    do {
      const page = await this.#control.listVolumes({ token, limit: PAGE }, deadline);
      for (const { id, attachment } of page.volumes) if (attachment?.nodeName === nodeName) volumes.add(id);
      token = page.nextToken;
    } while (token !== '');
    this.#volumesOf.set(nodeName, volumes);
    return volumes;
  }
}
