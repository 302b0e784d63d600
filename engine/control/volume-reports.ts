import type { Clock } from '../../common/ports/index.ts';
import type { VolumeId } from '../blob/index.ts';
import type { VolumeReport } from './wire.ts';

const MAX_REPORTS = 100_000;

/** What volume servers last told. Kept in memory: it is for people and for shortcuts, and is told again soon. */
export class VolumeReports {
  readonly #clock: Clock;
  readonly #reports = new Map<VolumeId, VolumeReport>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  take(id: VolumeId, report: VolumeReport): void {
    this.#reports.delete(id);
    this.#reports.set(id, { ...report, reportedMs: BigInt(Math.floor(this.#clock.nowMs())) });
    if (this.#reports.size <= MAX_REPORTS) return;
    const oldest = this.#reports.keys().next().value;
    if (oldest !== undefined) this.#reports.delete(oldest);
  }

  of(id: VolumeId): VolumeReport | undefined {
    return this.#reports.get(id);
  }

  forget(id: VolumeId): void {
    this.#reports.delete(id);
  }
}
