import { type Deadline, SingleFlight } from '../../common/concurrency/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { VolumeControl } from '../ports.ts';

/** Zones change when storage is added in a new place: once a year. Asking for every volume would double the cost of making one. */
const FRESH_MS = 5000;

/** The zones that the cluster has storage in, sorted, as control last told. */
export class Zones {
  readonly #control: Pick<VolumeControl, 'listZones'>;
  readonly #clock: Clock;
  readonly #asking = new SingleFlight<'zones', readonly string[]>();
  #known: { readonly zones: readonly string[]; readonly atMs: number } | undefined;

  constructor(control: Pick<VolumeControl, 'listZones'>, clock: Clock) {
    this.#control = control;
    this.#clock = clock;
  }

  async list(deadline: Deadline): Promise<readonly string[]> {
    const known = this.#known;
    if (known !== undefined && this.#clock.monotonicMs() - known.atMs < FRESH_MS) return known.zones;
    return await this.#asking.run('zones', () => this.#ask(deadline), deadline.signal);
  }

  async #ask(deadline: Deadline): Promise<readonly string[]> {
    const zones = [...new Set(await this.#control.listZones(deadline))].sort();
    // An empty cluster is about to change.
    if (zones.length > 0) this.#known = { zones, atMs: this.#clock.monotonicMs() };
    return zones;
  }
}
