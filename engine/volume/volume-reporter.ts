import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import type { ControlClient } from '../control/index.ts';
import type { HostedVolume } from './hosted-volume.ts';
import { VOLUME_BLOCK } from './native.ts';
import type { VolumeHost } from './volume-host.ts';

export type VolumeReporterOptions = {
  readonly host: VolumeHost;
  readonly control: ControlClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeName: string;
};

const INTERVAL_MS = 5000;
const CALL_MS = 2000;

/** Tells control now and then how the volumes are; nobody depends on it. */
export class VolumeReporter {
  readonly #options: VolumeReporterOptions;
  #timer: Timer | undefined;
  #running: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: VolumeReporterOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#closed) return;
    this.#timer = this.#options.clock.setTimer(
      () => {
        this.#running = this.#reportAll().finally(() => this.start());
      },
      INTERVAL_MS,
      { background: true },
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#running;
  }

  async #reportAll(): Promise<void> {
    for (const volume of this.#options.host.volumes) {
      try {
        await this.#report(volume);
      } catch (err) {
        this.#options.logger.debug('control did not take a report', { volumeId: volume.id, err });
        return;
      }
    }
  }

  async #report(volume: HostedVolume): Promise<void> {
    const { control, clock, nodeName } = this.#options;
    const { status, meta, waits } = volume;
    const nodes = new Set(waits.flatMap((wait) => wait.nodes));
    const waiting = nodes.size === 0 ? '' : `waits for ${[...nodes].join(', ')}`;
    await control.reportVolume(
      volume.id,
      BigInt(meta.generation),
      {
        nodeName,
        state: volume.state,
        reason: volume.failure?.message ?? waiting,
        logSequence: status?.stats.committedSequence ?? 0n,
        checkpointSequence: status?.checkpointSequence ?? 0n,
        unsealedBytes: BigInt(status?.stats.unsealedBytes ?? 0),
        liveBytes: BigInt((status?.stats.liveBlocks ?? 0) * VOLUME_BLOCK),
        reportedMs: BigInt(clock.nowMs()),
      },
      { timeoutMs: CALL_MS },
    );
  }
}
