import {
  type ClusterIndex,
  crossing,
  DISTANCES,
  type Distance,
  NO_RAIL,
  NO_SLOT,
  type Part,
  type PlaceId,
  type Slot,
} from '../cluster/index.ts';
import { RESOURCE_PREFIX } from '../kube/index.ts';
import type { Need, Reading } from '../need/index.ts';
import { HcaUse } from './hca-use.ts';
import type { ScoreWeights } from './weights.ts';

/** Of each place: the time to the first bytes, then slowed bytes by distance. */
const STRIDE = 1 + DISTANCES.length;
const BITS_PER_GBIT = 1e9;
/** A link is never taken to be wholly busy. */
const MOST_BUSY = 0.95;
const DIRECT_RESOURCE = /^nabustore\.io\/(gds|cufile)(-|$)/;

export type Breakdown = {
  readonly seconds: number;
  readonly firstByteS: number;
  readonly load: Readonly<Record<Distance, { readonly bytes: number; readonly seconds: number }>>;
  /** By how much the node's own link divides what the distance allows: 1 when it is idle and fast. */
  readonly linkSlowdown: number;
  readonly isDirect: boolean;
};

/**
 * Memory of the request that is being answered, used again by the next: what it marks with its number holds for it alone, so that
 * nothing has to be made or cleared for thousands of places.
 */
class Marks {
  /** Slots that hold something themselves: one comparison instead of a look-up in each map. */
  holders = new Int32Array(1024);
  /** Places whose amounts are known. */
  places = new Int32Array(1024);
  amounts = new Float64Array(1024 * STRIDE);
  round = 0;

  /** The number of a new request. */
  begin(readings: readonly Reading[], slots: number, places: number): number {
    if (this.holders.length < slots) this.holders = new Int32Array(slots * 2);
    if (this.places.length < places) {
      this.places = new Int32Array(places * 2);
      this.amounts = new Float64Array(places * 2 * STRIDE);
    }
    this.round = (this.round + 1) | 0;
    if (this.round === 0) {
      this.holders.fill(0);
      this.places.fill(0);
      this.round = 1;
    }
    for (const { spread } of readings) for (const slot of spread.hosts.keys()) this.holders[slot] = this.round;
    return this.round;
  }
}

const marks = new Marks();

/**
 * The expected time until a pod has its data, for one pod on any node:
 *
 *     seconds = sum over readings (trips * rtt) + sum over distances (bytes * slowness / bandwidth)
 *
 * A reading is taken from the nearest first: what the host itself has, then its rail, rack, zone and the rest, never more than its
 * size. What is the same for all nodes of a place is computed once per place and request, so that a node costs a few
 * multiplications. Pure: reads the index, keeps nothing beyond the request.
 */
export class LoadTimes {
  readonly #index: ClusterIndex;
  readonly #weights: ScoreWeights;
  readonly #readings: readonly Reading[];
  readonly #own = new Float64Array(STRIDE);
  readonly #round: number;
  readonly #wantsDirect: boolean;
  /** While one reading is divided up: how much of it is found, and the round trips for that. */
  #taken = 0;
  #rttS = 0;
  readonly #hcas: HcaUse;

  constructor(need: Need, index: ClusterIndex, weights: ScoreWeights) {
    this.#index = index;
    this.#weights = weights;
    this.#readings = need.readings;
    this.#round = marks.begin(need.readings, index.nodes.names.limit, index.nodes.places.count);
    const asked = [...need.devices.keys()].filter((name) => name.startsWith(RESOURCE_PREFIX));
    this.#wantsDirect = asked.some((name) => DIRECT_RESOURCE.test(name));
    this.#hcas = new HcaUse(need, index, weights);
  }

  /** Whether the answer can differ between nodes at all. */
  get isTrivial(): boolean {
    return this.#readings.length === 0;
  }

  /** Of a node that is there. */
  secondsAt(slot: Slot): number {
    if (this.#readings.length === 0) return 0;
    const place = this.#index.nodes.place[slot] ?? 0;
    const link = this.#linkBytesPerSecond(slot);
    const slowdown = this.#slowdown(slot);
    // Of the node alone; and where another request's marks lie over ours.
    if (marks.holders[slot] === this.#round || marks.round !== this.#round) {
      this.#fill(this.#own, 0, place, slot);
      return this.#secondsFor(this.#own, 0, link, slowdown);
    }
    if (marks.places[place] !== this.#round) {
      this.#fill(marks.amounts, place * STRIDE, place, NO_SLOT);
      marks.places[place] = this.#round;
    }
    return this.#secondsFor(marks.amounts, place * STRIDE, link, slowdown);
  }

  #secondsFor(amounts: Float64Array, at: number, link: number, slowdown: number): number {
    const { host, rail, rack, zone, far } = this.#weights.bytesPerSecond;
    const remote =
      (amounts[at + 2] ?? 0) / Math.min(rail, link) +
      (amounts[at + 3] ?? 0) / Math.min(rack, link) +
      (amounts[at + 4] ?? 0) / Math.min(zone, link) +
      (amounts[at + 5] ?? 0) / Math.min(far, link);
    return (amounts[at] ?? 0) + (amounts[at + 1] ?? 0) / host + remote * slowdown;
  }

  /** The same, for people. */
  explain(slot: Slot): Breakdown {
    const amounts = new Float64Array(STRIDE);
    this.#fill(amounts, 0, this.#index.nodes.place[slot] ?? 0, slot);
    const slowdown = this.#slowdown(slot);
    const link = this.#linkBytesPerSecond(slot);
    const load = Object.fromEntries(
      DISTANCES.map((distance, at) => {
        const bytes = amounts[at + 1] ?? 0;
        const speed = this.#weights.bytesPerSecond[distance];
        const seconds = distance === 'host' ? bytes / speed : (bytes / Math.min(speed, link)) * slowdown;
        return [distance, { bytes: Math.round(bytes), seconds }];
      }),
    ) as Breakdown['load'];
    return {
      seconds: this.secondsAt(slot),
      firstByteS: amounts[0] ?? 0,
      load,
      linkSlowdown: slowdown,
      isDirect: this.#index.nodes.isDirect[slot] === 1,
    };
  }

  #linkBytesPerSecond(slot: Slot): number {
    const gbps = this.#index.nodes.linkGbps[slot] ?? 0;
    return gbps > 0 ? (gbps * BITS_PER_GBIT) / 8 : Number.POSITIVE_INFINITY;
  }

  /** How the node's load, its HCAs that others hold, a path through the CPU and one across NUMA nodes stretch what comes over its link. */
  #slowdown(slot: Slot): number {
    const busy = Math.max(this.#index.nodes.linkLoad[slot] ?? 0, this.#hcas.busy(slot));
    const isAround = this.#wantsDirect && this.#index.nodes.isDirect[slot] !== 1;
    const indirect = isAround ? this.#weights.indirectSlowdown : 1;
    return (indirect * this.#hcas.numaStretch(slot)) / (1 - Math.min(busy, MOST_BUSY));
  }

  #fill(into: Float64Array, at: number, place: PlaceId, slot: Slot): void {
    into.fill(0, at, at + STRIDE);
    for (const { bytes, spread } of this.#readings) {
      this.#taken = 0;
      this.#rttS = 0;
      const here = slot === NO_SLOT ? undefined : spread.hosts.get(slot);
      this.#take(into, at, 0, here, 0, bytes);
      const onHost = here?.share ?? 0;
      if (this.#taken < 1) this.#takeNear(into, at, spread, place, onHost, bytes);
      const measured = this.#taken > 0 ? spread.measuredRttS(place) : undefined;
      into[at] = (into[at] ?? 0) + this.#weights.firstByteTrips * (measured ?? this.#rttS);
    }
  }

  /** Beyond the host, ever farther while something is missing. */
  #takeNear(
    into: Float64Array,
    at: number,
    spread: Reading['spread'],
    place: PlaceId,
    onHost: number,
    bytes: number,
  ): void {
    const { places } = this.#index.nodes;
    const rail = places.rail[place] ?? NO_RAIL;
    const ofRail = rail < 0 ? undefined : spread.rails.get(rail);
    this.#take(into, at, 1, ofRail, onHost, bytes);
    if (this.#taken >= 1) return;
    const onRail = ofRail?.share ?? onHost;
    const rack = places.rack[place] ?? 0;
    // A rail crosses racks: what is in both has been taken.
    const onBoth = rail < 0 ? onHost : (spread.crossings.get(crossing(rack, rail))?.share ?? onHost);
    const ofRack = spread.racks.get(rack);
    this.#take(into, at, 2, ofRack, onBoth, bytes);
    if (this.#taken >= 1) return;
    const inRack = ofRack?.share ?? onBoth;
    this.#take(into, at, 3, spread.zones.get(places.zone[place] ?? 0), onRail + inRack - onBoth, bytes);
    // What nobody near has comes from wherever it is kept: all of it, even where we know of less.
    this.#takeShare(into, at, 4, 1 - this.#taken, spread.all.slowness * bytes);
  }

  /** Of what lies within a distance, `nearer` lies nearer already. */
  #take(
    into: Float64Array,
    at: number,
    distance: number,
    within: Part | undefined,
    nearer: number,
    bytes: number,
  ): void {
    if (within === undefined) return;
    const share = Math.min(within.share - nearer, 1 - this.#taken);
    this.#takeShare(into, at, distance, share, within.slowness * bytes);
  }

  #takeShare(into: Float64Array, at: number, distance: number, share: number, slowedBytes: number): void {
    if (!(share > 0)) return;
    this.#taken += share;
    into[at + 1 + distance] = (into[at + 1 + distance] ?? 0) + share * slowedBytes;
    this.#rttS += share * this.#weights.rttS[DISTANCES[distance] ?? 'far'];
  }
}
