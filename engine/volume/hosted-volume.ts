import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { formatWriterEpoch, type VolumeId } from '../blob/index.ts';
import type { BlobClient } from '../client/index.ts';
import type { Slab } from '../slab/index.ts';
import { ClientHomeNodes } from './client-home-nodes.ts';
import type { IncarnationFile } from './incarnation-file.ts';
import type { KeeperClient } from './keeper-client.ts';
import { closeFd, scratchBytes, type VolumeFrontend } from './native.ts';
import { Volume, type VolumeLimits, type VolumeState, type VolumeStatus } from './volume.ts';
import { specOf, type VolumeMeta } from './volume-meta.ts';
import { type VolumeWait, WaitBoard } from './wait-board.ts';

export type HostedVolumeOptions = {
  readonly slab: Slab;
  readonly blobs: BlobClient;
  readonly keeper: KeeperClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: HostedLimits;
  readonly incarnation: IncarnationFile;
  readonly onFailed: (volume: HostedVolume) => void;
};

/** Of a served volume; its cache lies in memory that the keeper keeps, so the length is asked for. */
export type HostedLimits = Partial<VolumeLimits> & Pick<VolumeLimits, 'readCacheBytes'>;

const REMOVE_MS = 30_000;
const LOOP_MS = 30_000;
const INCARNATION_ATTEMPTS = 3;

/** A volume of this server: what the keeper keeps of it, and the open volume between opening and closing. */
export class HostedVolume {
  readonly id: VolumeId;
  readonly #options: HostedVolumeOptions;
  readonly #waits: WaitBoard;
  #meta: VolumeMeta;
  #volume: Volume | undefined;
  #device = '';
  #failure: NabuError | undefined;
  #hasNoDevice = false;

  constructor(meta: VolumeMeta, options: HostedVolumeOptions) {
    this.#meta = meta;
    this.#options = options;
    this.id = specOf(meta).id;
    this.#waits = new WaitBoard((wait) => {
      if (wait === undefined) options.logger.info('the volume waits no more', { volumeId: this.id });
      else options.logger.warn('the volume waits', { volumeId: this.id, ...wait });
    });
  }

  get meta(): VolumeMeta {
    return this.#meta;
  }

  get device(): string {
    return this.#device;
  }

  get failure(): NabuError | undefined {
    return this.#failure;
  }

  /** The kernel still has a device that this process answers for. */
  get hasDevice(): boolean {
    return this.#volume !== undefined && !this.#volume.frontendClosed && this.#failure === undefined;
  }

  /** Its device is gone, the last of its log is not written yet: to be closed before anything else. */
  get isClosing(): boolean {
    return this.#hasNoDevice;
  }

  get state(): VolumeState {
    if (this.#failure !== undefined) return 'failed';
    return this.#volume?.status.state ?? 'opening';
  }

  /** Of the open volume; undefined while it is opening. */
  get status(): VolumeStatus | undefined {
    return this.#volume?.status;
  }

  get waits(): readonly VolumeWait[] {
    return this.#waits.all;
  }

  /** Fence, replay, serve, device. What the keeper does not keep yet is made there. */
  async open(ringBytes: number, deadline: Deadline): Promise<void> {
    const { keeper, logger, limits } = this.#options;
    const kept = await keeper.add({
      volumeId: this.id,
      sizeBytes: Number(this.#meta.sizeBytes),
      ringBytes,
      meta: this.#meta,
    });
    let scratchFd: number | undefined;
    try {
      scratchFd = await keeper.scratch(this.id, scratchBytes(limits.readCacheBytes));
      const { fuseFd, ringFd } = kept;
      this.#volume = await this.#openEpoch({ kind: 'fuse', fuseFd, ringFd, scratchFd }, deadline);
    } catch (err) {
      // What an earlier server left may hold writes that are nowhere else: it stays.
      if (kept.created) await keeper.remove(this.id, { force: true, timeoutMs: REMOVE_MS });
      throw err;
    } finally {
      kept.close();
      if (scratchFd !== undefined) closeFd(scratchFd);
    }
    this.#device = await keeper.attachLoop(this.id, { readOnly: this.#meta.readOnly, timeoutMs: LOOP_MS });
    logger.info('device ready', { volumeId: this.id, device: this.#device });
  }

  async flush(deadline: Deadline): Promise<void> {
    await this.#open().flush(deadline);
  }

  async expand(sizeBytes: bigint, deadline: Deadline): Promise<void> {
    if (sizeBytes <= BigInt(this.#meta.sizeBytes)) return;
    const { keeper } = this.#options;
    await this.#open().resize(sizeBytes, deadline);
    this.#meta = { ...this.#meta, sizeBytes: sizeBytes.toString() };
    await keeper.setMeta(this.id, this.#meta);
    await keeper.resizeLoop(this.id, LOOP_MS);
  }

  async setIoTimeout(ioTimeoutMs: number): Promise<void> {
    if (ioTimeoutMs === this.#meta.ioTimeoutMs) return;
    this.#open().setIoTimeout(ioTimeoutMs);
    this.#meta = { ...this.#meta, ioTimeoutMs };
    await this.#options.keeper.setMeta(this.id, this.#meta);
  }

  /**
   * Durable, then the device goes, then the last checkpoint. KEEPER_REFUSED while it is in use. A volume that failed, or with `force`,
   * goes at once: what is not in the log is lost. A close that ended early, whoever asked for it, is taken up again by the next one.
   */
  async close(force: boolean, deadline: Deadline): Promise<void> {
    const volume = this.#volume;
    if (volume === undefined || this.#failure !== undefined || force) {
      await volume?.abandon();
      await this.#removeIfKept(true);
      return;
    }
    await volume.flush(deadline);
    await this.#removeIfKept(false);
    this.#hasNoDevice = true;
    await volume.close(deadline);
  }

  /** The process ends: what is served stays with the keeper for the next one. */
  async abandon(): Promise<void> {
    await this.#volume?.abandon();
  }

  /** For good: every request gets an error, which only taking the device away does for those that wait in the kernel. */
  async fail(err: NabuError): Promise<void> {
    if (this.#failure !== undefined) return;
    this.#failure = err;
    this.#options.logger.error('the volume is not served any more', { volumeId: this.id, err });
    await this.#volume?.abandon();
    await this.#removeIfKept(true);
  }

  async #removeIfKept(force: boolean): Promise<void> {
    const { keeper } = this.#options;
    const kept = await keeper.list();
    if (!kept.some(({ volumeId }) => volumeId === this.id)) return;
    await keeper.remove(this.id, { force, timeoutMs: REMOVE_MS });
  }

  #open(): Volume {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#volume !== undefined) return this.#volume;
    throw NabuError.of('UNAVAILABLE', { target: `volume ${this.id}`, reason: 'it is still being opened' });
  }

  /** An incarnation of our own attachment that is higher than ours can only be one that this node has forgotten. */
  async #openEpoch(frontend: VolumeFrontend, deadline: Deadline): Promise<Volume> {
    const generation = BigInt(this.#meta.generation);
    let incarnation = await this.#options.incarnation.raise();
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#openWith(frontend, { generation, incarnation }, deadline);
      } catch (err) {
        const fence = NabuError.is(err, 'FENCED') ? parseEpoch(err.fields.fence) : undefined;
        if (fence?.generation !== generation || attempt === INCARNATION_ATTEMPTS) throw err;
        this.#options.logger.warn('this node had forgotten its incarnation', {
          volumeId: this.id,
          ours: formatWriterEpoch({ generation, incarnation }),
          fence: formatWriterEpoch(fence),
        });
        incarnation = await this.#options.incarnation.raise(fence.incarnation + 1n);
      }
    }
  }

  async #openWith(
    frontend: VolumeFrontend,
    epoch: { generation: bigint; incarnation: bigint },
    deadline: Deadline,
  ): Promise<Volume> {
    const { slab, blobs, clock, logger, limits } = this.#options;
    return await Volume.open(
      {
        slab,
        blobs,
        nodes: new ClientHomeNodes(blobs.nodes()),
        clock,
        stamps: blobs.stamps,
        logger,
        spec: specOf(this.#meta),
        epoch,
        frontend,
        readOnly: this.#meta.readOnly,
        ioTimeoutMs: this.#meta.ioTimeoutMs,
        limits,
        onFailed: (err) => {
          void this.fail(err).catch((cause: unknown) =>
            logger.error('a failed volume could not be taken away', { volumeId: this.id, err: cause }),
          );
          this.#options.onFailed(this);
        },
      },
      deadline,
      this.#waits,
    );
  }
}

function parseEpoch(text: unknown): { generation: bigint; incarnation: bigint } | undefined {
  const match = /^(\d+)\.(\d+)$/.exec(String(text));
  return match?.[1] === undefined || match[2] === undefined
    ? undefined
    : { generation: BigInt(match[1]), incarnation: BigInt(match[2]) };
}
