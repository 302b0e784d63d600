import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NabuError } from '../common/errors/index.ts';
import type { Clock } from '../common/ports/index.ts';

/** How a kind of device tells what it has carried and how fast it is. */
type Counters = {
  readonly folder: string;
  readonly files: readonly string[];
  readonly bytesPerCount: number;
  readonly rate: string;
  /** Bytes per second. */
  readonly speedOf: (text: string) => number;
};

/** Documentation/ABI/testing/sysfs-class-net: Mbit/s, -1 where it is not known. */
const ethernet = (folder: string): Counters => ({
  folder,
  files: ['statistics/rx_bytes', 'statistics/tx_bytes'],
  bytesPerCount: 1,
  rate: 'speed',
  speedOf: (text) => (Number(text) * 1e6) / 8,
});

/** Documentation/ABI/stable/sysfs-class-infiniband: '400 Gb/sec (4X NDR)'; data is counted in words of four bytes. */
const infiniband = (folder: string): Counters => ({
  folder,
  files: ['counters/port_rcv_data', 'counters/port_xmit_data'],
  bytesPerCount: 4,
  rate: 'rate',
  speedOf: (text) => (Number.parseFloat(text) * 1e9) / 8,
});

/** How busy one link of this machine is, by its own counters: the busier of its two directions. */
export class LinkMeter {
  readonly #counters: Counters;
  readonly #bytesPerSecond: number;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  #last: readonly number[];
  #lastMs: number;

  private constructor(
    counters: Counters,
    bytesPerSecond: number,
    clock: Pick<Clock, 'monotonicMs'>,
    first: readonly number[],
  ) {
    this.#counters = counters;
    this.#bytesPerSecond = bytesPerSecond;
    this.#clock = clock;
    this.#last = first;
    this.#lastMs = clock.monotonicMs();
  }

  /** `device`: an interface ('eth0') or an HCA ('mlx5_0', its first port). Throws INVALID_ARGUMENT: none, or one that does not say its speed. */
  static async open(device: string, clock: Pick<Clock, 'monotonicMs'>, sysfs = '/sys'): Promise<LinkMeter> {
    if (!/^[A-Za-z0-9_.:-]{1,64}$/.test(device) || device.startsWith('.'))
      throw unusable(device, 'is no name of a device');
    const kinds = [
      infiniband(join(sysfs, 'class/infiniband', device, 'ports/1')),
      ethernet(join(sysfs, 'class/net', device)),
    ];
    for (const counters of kinds) {
      const first = await countsOf(counters);
      if (first === undefined) continue;
      const speed = counters.speedOf((await textOf(join(counters.folder, counters.rate))) ?? '');
      if (!(speed > 0))
        throw unusable(device, 'does not say how fast it is: measure it otherwise, and say --link-load');
      return new LinkMeter(counters, speed, clock, first);
    }
    throw unusable(device, 'is neither an InfiniBand or RoCE device nor an interface of this machine');
  }

  /** Since it was last asked, in per cent. Throws UNAVAILABLE where the device is gone. */
  async percent(): Promise<number> {
    const now = await countsOf(this.#counters);
    if (now === undefined) throw NabuError.of('UNAVAILABLE', { target: this.#counters.folder, reason: 'it is gone' });
    const nowMs = this.#clock.monotonicMs();
    const seconds = Math.max(0.001, (nowMs - this.#lastMs) / 1000);
    // A counter that has begun anew has carried what it says.
    const carried = now.map((count, at) => (count >= (this.#last[at] ?? 0) ? count - (this.#last[at] ?? 0) : count));
    this.#last = now;
    this.#lastMs = nowMs;
    const busiest = (Math.max(...carried) * this.#counters.bytesPerCount) / seconds;
    return Math.min(100, Math.round((busiest / this.#bytesPerSecond) * 100));
  }
}

function unusable(device: string, reason: string): NabuError {
  return NabuError.of('INVALID_ARGUMENT', { field: `link ${JSON.stringify(device)}`, reason });
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch {
    return undefined; // not there, or nothing to say (an interface that is down): the caller knows what that means
  }
}

async function countsOf({ folder, files }: Counters): Promise<readonly number[] | undefined> {
  const texts = await Promise.all(files.map((file) => textOf(join(folder, file))));
  const counts = texts.map((text) => (text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined));
  return counts.every((count) => count !== undefined) ? counts : undefined;
}
