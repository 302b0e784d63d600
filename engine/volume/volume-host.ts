import { join } from 'node:path';
import { Deadline, KeyedMutex } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { isVolumeId, type VolumeId } from '../blob/index.ts';
import type { BlobClient } from '../client/index.ts';
import type { ControlClient, Volume as ControlVolume } from '../control/index.ts';
import type { Slab } from '../slab/index.ts';
import { type HostedLimits, HostedVolume } from './hosted-volume.ts';
import { IncarnationFile } from './incarnation-file.ts';
import type { KeeperClient } from './keeper-client.ts';
import { metaOf, type OpenMode, type VolumeMeta, volumeMetaSchema } from './volume-meta.ts';

export type VolumeHostOptions = {
  readonly slab: Slab;
  readonly blobs: BlobClient;
  readonly keeper: KeeperClient;
  readonly control: ControlClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: HostedLimits;
  readonly ringBytes: number;
  readonly openTimeoutMs: number;
  /** Folder with one folder per volume. */
  readonly stateFolder: string;
};

const CONTROL_MS = 10_000;
const CONTROL_RETRY_MS = 100;
const ADOPT_RETRY_MS = 500;
/** An answer still has to travel before the caller's deadline. */
const ANSWER_MS = 500;

/** The volumes that this server shows as devices. Calls about one volume are done one after the other. */
export class VolumeHost {
  readonly #options: VolumeHostOptions;
  readonly #volumes = new Map<VolumeId, HostedVolume>();
  readonly #locks = new KeyedMutex<VolumeId>({ name: 'volume', maxWaiters: 64 });
  readonly #stop = new AbortController();
  #adopting: Promise<void>[] = [];
  readonly #tried: Promise<void>[] = [];

  constructor(options: VolumeHostOptions) {
    this.#options = options;
  }

  get volumes(): readonly HostedVolume[] {
    return [...this.#volumes.values()];
  }

  /** VOLUME_NOT_FOUND. */
  get(id: VolumeId): HostedVolume {
    const volume = this.#volumes.get(id);
    if (volume === undefined) throw NabuError.of('VOLUME_NOT_FOUND', { volumeId: id });
    return volume;
  }

  /** Takes over what an earlier server left with the keeper: for as long as it takes, the kernel waits too. */
  async adoptAll(): Promise<void> {
    const kept = await this.#options.keeper.list();
    this.#adopting = kept.map(async ({ volumeId }) => {
      const tried = Promise.withResolvers<void>();
      this.#tried.push(tried.promise);
      try {
        if (isVolumeId(volumeId)) await this.#adopt(volumeId, tried.resolve);
      } catch (err) {
        if (!this.#stop.signal.aborted)
          this.#options.logger.error('a kept volume cannot be taken over', { volumeId, err });
      } finally {
        tried.resolve();
      }
    });
  }

  /** Resolves when each volume of adoptAll is served, or could not be at the first attempt. */
  async adopted(): Promise<void> {
    await Promise.all(this.#tried);
  }

  async open(id: VolumeId, mode: OpenMode, deadline: Deadline): Promise<HostedVolume> {
    return await this.#locks.run(id, async () => await this.#openLocked(id, mode, deadline), deadline.signal);
  }

  /** False when it was not open here. */
  async close(id: VolumeId, force: boolean, deadline: Deadline): Promise<boolean> {
    return await this.#locks.run(
      id,
      async () => {
        const volume = this.#volumes.get(id);
        if (volume === undefined) return false;
        await volume.close(force, deadline);
        this.#volumes.delete(id);
        return true;
      },
      deadline.signal,
    );
  }

  async expand(id: VolumeId, sizeBytes: bigint, deadline: Deadline): Promise<HostedVolume> {
    const volume = this.get(id);
    await this.#locks.run(id, async () => await volume.expand(sizeBytes, deadline), deadline.signal);
    return volume;
  }

  async flush(id: VolumeId, deadline: Deadline): Promise<void> {
    await this.get(id).flush(deadline);
  }

  /** Leaves everything to the next server. */
  async stop(): Promise<void> {
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'serving volumes' }));
    await Promise.allSettled(this.#adopting);
    await Promise.allSettled(this.volumes.map((volume) => volume.abandon()));
  }

  async #openLocked(id: VolumeId, mode: OpenMode, deadline: Deadline): Promise<HostedVolume> {
    const present = this.#volumes.get(id);
    if (present !== undefined) {
      const reopened = await this.#reuse(present, mode, deadline);
      if (reopened !== undefined) return reopened;
    }
    const record = await this.#record(id, deadline);
    const volume = this.#make(metaOf(record, mode));
    this.#volumes.set(id, volume);
    try {
      using inner = deadline.within(
        `opening volume ${id}`,
        Math.min(this.#options.openTimeoutMs, deadline.remainingMs() - ANSWER_MS),
      );
      await volume.open(this.#options.ringBytes, inner);
      return volume;
    } catch (err) {
      this.#volumes.delete(id);
      throw err;
    }
  }

  /** Control may be starting just now: it is asked again until the deadline. */
  async #record(id: VolumeId, deadline: Deadline): Promise<ControlVolume> {
    const { control, clock } = this.#options;
    for (;;) {
      try {
        return await control.getVolume(id, { timeoutMs: Math.min(CONTROL_MS, deadline.remainingMs()) });
      } catch (err) {
        if (!NabuError.is(err, 'UNAVAILABLE') || deadline.remainingMs() <= 2 * ANSWER_MS) throw err;
      }
      await clock.sleep(CONTROL_RETRY_MS, deadline.signal);
    }
  }

  /** The volume as it is when it serves this attachment; undefined after it was taken away to make room for a newer one. */
  async #reuse(present: HostedVolume, mode: OpenMode, deadline: Deadline): Promise<HostedVolume | undefined> {
    const generation = BigInt(present.meta.generation);
    if (present.failure === undefined && !present.isClosing && mode.generation <= generation) {
      if (present.state === 'opening') {
        throw NabuError.of('UNAVAILABLE', { target: `volume ${present.id}`, reason: 'it is being taken over' });
      }
      await present.setIoTimeout(mode.ioTimeoutMs);
      return present;
    }
    await present.close(false, deadline);
    this.#volumes.delete(present.id);
    return undefined;
  }

  async #adopt(id: VolumeId, tried: () => void): Promise<void> {
    const { keeper, clock, logger, openTimeoutMs } = this.#options;
    const kept = await keeper.get(id);
    kept.close();
    const volume = this.#make(volumeMetaSchema.parse(kept.meta));
    this.#volumes.set(id, volume);
    await this.#locks.run(id, async () => {
      while (!this.#stop.signal.aborted) {
        try {
          using deadline = new Deadline({
            clock,
            operation: `taking over volume ${id}`,
            timeoutMs: openTimeoutMs,
            parent: this.#stop.signal,
          });
          return await volume.open(kept.ringBytes, deadline);
        } catch (err) {
          if (this.#stop.signal.aborted) return;
          if (NabuError.is(err, 'FENCED', 'BLOB_LOST', 'BLOB_NOT_FOUND')) return await volume.fail(err);
          logger.warn('a volume cannot be taken over yet', { volumeId: id, err });
        }
        tried();
        await clock.sleep(ADOPT_RETRY_MS, this.#stop.signal);
      }
    });
  }

  #make(meta: VolumeMeta): HostedVolume {
    const { stateFolder } = this.#options;
    return new HostedVolume(meta, {
      ...this.#options,
      incarnation: new IncarnationFile(join(stateFolder, meta.id, 'incarnation.json')),
      onFailed: () => undefined,
    });
  }
}
