import {
  type ClusterIndex,
  crossing,
  DISTANCES,
  type Distance,
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

/** Slots that hold something themselves, marked with the number of the request: one comparison instead of a look-up in each map. */
let holders = new Int32Array(1024);
let round = 0;

function markHolders(readings: readonly Reading[], slots: number): void {
  if (holders.length < slots) holders = new Int32Array(slots * 2);
  round = (round + 1) | 0;
  for (const { spread } of readings) for (const slot of spread.hosts.keys()) holders[slot] = round;
}

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
  readonly #byPlace: Float64Array;
  readonly #isKnown: Uint8Array;
  /** Of each place: the seconds of the node that was asked about last, and the link that they hold for. */
  readonly #lastSeconds: Float64Array;
  readonly #lastLink: Float64Array;
  readonly #lastSlowdown: Float64Array;
  readonly #own = new Float64Array(STRIDE);
  readonly #round: number;
  readonly #wantsDirect: boolean;
  readonly #hcas: HcaUse;

  constructor(need: Need, index: ClusterIndex, weights: ScoreWeights) {
    this.#index = index;
    this.#weights = weights;
    this.#readings = need.readings;
    const places = index.nodes.places.count;
    this.#byPlace = new Float64Array(places * STRIDE);
    this.#isKnown = new Uint8Array(places);
    this.#lastSeconds = new Float64Array(places);
    this.#lastLink = new Float64Array(places);
    this.#lastSlowdown = new Float64Array(places);
    markHolders(need.readings, index.nodes.names.limit);
    this.#round = round;
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
    if (this.#holdsSome(slot)) {
      this.#fill(this.#own, 0, place, slot);
      return this.#secondsFor(this.#own, 0, link, slowdown);
    }
    const isSame = this.#lastLink[place] === link && this.#lastSlowdown[place] === slowdown;
    if (isSame) return this.#lastSeconds[place] ?? 0;
    if (this.#isKnown[place] !== 1) {
      this.#fill(this.#byPlace, place * STRIDE, place, NO_SLOT);
      this.#isKnown[place] = 1;
    }
    const seconds = this.#secondsFor(this.#byPlace, place * STRIDE, link, slowdown);
    this.#lastLink[place] = link;
    this.#lastSlowdown[place] = slowdown;
    this.#lastSeconds[place] = seconds;
    return seconds;
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

  #holdsSome(slot: Slot): boolean {
    // Another pod's marks lie over ours: then by a look at each.
    if (this.#round === round) return holders[slot] === round;
    return this.#readings.some(({ spread }) => spread.hosts.has(slot));
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
    const { zone, rack, rail } = this.#index.nodes.places.at(place);
    const { rttS, firstByteTrips } = this.#weights;
    for (const { bytes, spread } of this.#readings) {
      let taken = 0;
      let rtt = 0;
      /** Of what lies within a distance, `nearer` lies nearer already. Answers what lies within. */
      const take = (distance: number, within: Part | undefined, nearer: number): number => {
        if (within === undefined) return nearer;
        const share = Math.min(within.share - nearer, 1 - taken);
        if (share > 0) {
          taken += share;
          into[at + 1 + distance] = (into[at + 1 + distance] ?? 0) + share * bytes * within.slowness;
          rtt += share * rttS[DISTANCES[distance] ?? 'far'];
        }
        return within.share;
      };
      const here = slot === NO_SLOT ? undefined : spread.hosts.get(slot);
      const onHost = take(0, here, 0);
      const onRail = rail < 0 ? onHost : take(1, spread.rails.get(rail), onHost);
      // A rail crosses racks: what is in both has been taken.
      const onBoth = rail < 0 ? onHost : (spread.crossings.get(crossing(rack, rail))?.share ?? onHost);
      const inRack = take(2, spread.racks.get(rack), onBoth);
      take(3, spread.zones.get(zone), onRail + inRack - onBoth);
      // What nobody near has comes from wherever it is kept: all of it, even where we know of less.
      take(4, { share: 1, slowness: spread.all.slowness }, taken);
      const measured = taken > 0 ? spread.measuredRttS(place) : undefined;
      into[at] = (into[at] ?? 0) + firstByteTrips * (measured ?? rtt);
    }
  }
}
