import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { VolumeId } from '../../engine/blob/index.ts';
import type { VolumeRecord } from '../ports.ts';
import type { BlockDevice } from './block-device.ts';
import { unmount } from './mount-commands.ts';
import { MountTable } from './mount-table.ts';
import { knownDevice, type NodeParts } from './node-parts.ts';
import type { StagedRecord } from './staged-records.ts';
import { removeTarget } from './target-path.ts';

export type Finding = {
  /** undefined: control has no such volume any more. */
  readonly volume: VolumeRecord | undefined;
  readonly nodeName: string;
  readonly isOpen: boolean;
  readonly mounts: number;
  readonly hasRecord: boolean;
};

/**
 * What becomes of a volume that this node has traces of. `unmount` takes everything away, `close` gives an open but unused volume
 * back, `forget` drops a record that describes nothing. A volume that is attached here is its orchestrator's business.
 */
export function judge(finding: Finding): 'keep' | 'unmount' | 'close' | 'forget' {
  if (finding.volume === undefined || finding.volume.state === 'deleting') {
    if (finding.mounts > 0) return 'unmount';
    return finding.isOpen ? 'close' : 'forget';
  }
  // Files may be open there, and a fenced writer does no harm: whoever mounted it has to end it.
  if (finding.mounts > 0) return 'keep';
  const isAttachedHere = finding.volume.attachment?.nodeName === finding.nodeName;
  if (finding.isOpen) return isAttachedHere ? 'keep' : 'close';
  return 'forget';
}

/** Collects what a crash of this plugin, or an orchestrator that went away, left on the node. One volume at a time, under its lock. */
export class OrphanCollector {
  readonly #parts: NodeParts;

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  /** Looks at every volume with a trace here. Throws when control or the volume servers cannot be asked: then nothing is known. */
  async collect(deadline: Deadline): Promise<void> {
    const { host, records, flights, logger } = this.#parts;
    const open = (await host.listVolumes(deadline)).map(({ id }) => id);
    const ids = new Set<VolumeId>([...open, ...(await records.list())]);
    for (const id of ids) {
      deadline.throwIfExpired();
      try {
        await flights.exclusive('collecting orphans', id, (work) => this.#settle(id, work));
      } catch (err) {
        if (NabuError.is(err, 'UNAVAILABLE', 'TIMEOUT')) throw err;
        logger.warn('orphan stays for now', { volumeId: id, error: err });
      }
    }
  }

  async #settle(id: VolumeId, deadline: Deadline): Promise<void> {
    const { control, host, records, nodeName, logger } = this.#parts;
    const volume = await control.getVolume(id, deadline).catch((err: unknown) => {
      if (NabuError.is(err, 'VOLUME_NOT_FOUND')) return undefined;
      throw err;
    });
    const record = await records.read(id);
    const isOpen = (await host.getVolume(id, deadline)) !== undefined;
    const device = await knownDevice(this.#parts, id, record, deadline);
    const places =
      device === undefined ? [] : (await (await MountTable.read()).of(device)).map((mount) => mount.mountPoint);
    const verdict = judge({ volume, nodeName, isOpen, mounts: places.length, hasRecord: record !== undefined });
    if (verdict === 'keep') return;
    if (isOpen || places.length > 0) logger.warn('collecting an orphaned volume', { volumeId: id, verdict, places });
    if (verdict === 'unmount') await this.#unmountAll(id, places, record, device, deadline);
    if (verdict !== 'forget') await host.closeVolume(id, deadline);
    await records.remove(id);
  }

  async #unmountAll(
    id: VolumeId,
    places: readonly string[],
    record: StagedRecord | undefined,
    device: BlockDevice | undefined,
    deadline: Deadline,
  ): Promise<void> {
    for (const place of places.toReversed()) await unmount(place, id, { deadline, logger: this.#parts.logger });
    const left = device === undefined ? [] : await (await MountTable.read()).of(device);
    for (const target of Object.keys(record?.published ?? {})) {
      if (left.every((mount) => mount.mountPoint !== target)) await removeTarget(target);
    }
  }
}
