import type { Deadline } from '../common/concurrency/index.ts';
import { NabuError } from '../common/errors/index.ts';
import { type ClientOf, GrpcClient } from '../common/grpc/index.ts';
import type { Layout } from '../common/layout/index.ts';
import { isVolumeId, type VolumeId } from '../engine/blob/index.ts';
import { slotOf } from '../engine/volume/index.ts';
import type { nabustore } from '../proto/gen/messages.js';
import { services } from '../proto/gen/services.js';
import type { HostedVolume, VolumeHost } from './ports.ts';

type HostService = ClientOf<(typeof services)['nabustore.v1.VolumeHost']>;

function waitingText(volume: nabustore.v1.HostedVolume): string {
  const nodes = new Set(volume.waitingOn.flatMap((wait) => wait.nodes));
  return nodes.size === 0 ? '' : `waits for ${[...nodes].join(', ')}`;
}

function toHosted(volume: nabustore.v1.HostedVolume): HostedVolume[] {
  if (!isVolumeId(volume.volumeId)) return [];
  return [
    {
      id: volume.volumeId,
      devicePath: volume.devicePath,
      sizeBytes: volume.sizeBytes,
      state: volume.state,
      reason: volume.reason === '' ? waitingText(volume) : volume.reason,
    },
  ];
}

/** The pool of volume servers of this machine: a volume is served by the slot that its id says. */
export class VolumeHostPool implements VolumeHost {
  readonly #clients: readonly GrpcClient[];
  readonly #hosts: readonly HostService[];

  constructor(layout: Layout, poolSize: number) {
    this.#clients = Array.from(
      { length: poolSize },
      (_, slot) => new GrpcClient({ address: { kind: 'unix', path: layout.volumeHostSocket(slot) } }),
    );
    this.#hosts = this.#clients.map((client) => client.service(services['nabustore.v1.VolumeHost']));
  }

  async openVolume(
    request: {
      readonly id: VolumeId;
      readonly generation: bigint;
      readonly readOnly: boolean;
      readonly ioTimeoutMs: number;
    },
    deadline: Deadline,
  ): Promise<{ readonly devicePath: string }> {
    const { id: volumeId, generation, readOnly, ioTimeoutMs } = request;
    return await this.#hostOf(volumeId).openVolume({ volumeId, generation, readOnly, ioTimeoutMs }, { deadline });
  }

  async closeVolume(id: VolumeId, deadline: Deadline): Promise<void> {
    await this.#hostOf(id).closeVolume({ volumeId: id }, { deadline });
  }

  async expandVolume(
    request: { readonly id: VolumeId; readonly sizeBytes: bigint },
    deadline: Deadline,
  ): Promise<void> {
    await this.#hostOf(request.id).expandVolume({ volumeId: request.id, sizeBytes: request.sizeBytes }, { deadline });
  }

  async getVolume(id: VolumeId, deadline: Deadline): Promise<HostedVolume | undefined> {
    try {
      return toHosted(await this.#hostOf(id).getVolume({ volumeId: id }, { deadline }))[0];
    } catch (err) {
      if (NabuError.is(err, 'VOLUME_NOT_FOUND')) return undefined;
      throw err;
    }
  }

  async listVolumes(deadline: Deadline): Promise<readonly HostedVolume[]> {
    const pages = await Promise.all(this.#hosts.map((host) => host.listVolumes({}, { deadline })));
    return pages.flatMap(({ volumes }) => volumes.flatMap(toHosted));
  }

  /** Every server answers. */
  async ready(deadline: Deadline): Promise<boolean> {
    await this.listVolumes(deadline);
    return true;
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }

  #hostOf(id: VolumeId): HostService {
    const host = this.#hosts[slotOf(id, this.#hosts.length)];
    if (host === undefined) throw NabuError.of('INVALID_ARGUMENT', { field: 'poolSize', reason: 'is 0' });
    return host;
  }
}
