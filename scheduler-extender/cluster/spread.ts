import type { Slot } from './name-table.ts';
import type { Place, PlaceId } from './places.ts';

/** Something that lies somewhere: `share` of the whole, on a host that may be one of the nodes. */
export type SpreadPart = {
  readonly share: number;
  readonly place: Place;
  readonly slot: Slot;
  /** 0 to below 1. */
  readonly load: number;
  /** The measured round trip from a place, in seconds. */
  readonly rttS: ((place: PlaceId) => number | undefined) | undefined;
};

/** How much lies within one domain, and how long it takes there beside idle nodes (1 or more). */
export type Part = { readonly share: number; readonly slowness: number };

class Sum {
  share = 0;
  slow = 0;

  add(share: number, load: number): void {
    this.share += share;
    this.slow += share / (1 - load);
  }

  part(): Part {
    return { share: this.share, slowness: this.share > 0 ? this.slow / this.share : 1 };
  }
}

function sumsBy<K extends number>(
  parts: readonly SpreadPart[],
  keyOf: (part: SpreadPart) => K,
  leftOut: K | undefined,
): ReadonlyMap<K, Part> {
  const sums = new Map<K, Sum>();
  for (const part of parts) {
    const key = keyOf(part);
    if (key === leftOut) continue;
    const sum = sums.get(key) ?? new Sum();
    sum.add(part.share, part.load);
    sums.set(key, sum);
  }
  return new Map([...sums].map(([key, sum]) => [key, sum.part()]));
}

/** How near data lies: the same host, rail, rack, zone, or none of them. */
export const DISTANCES = ['host', 'rail', 'rack', 'zone', 'far'] as const;
export type Distance = (typeof DISTANCES)[number];

const MOST_RAILS = 2 ** 20;

/** A key of `crossings`. */
export function crossing(rack: number, rail: number): number {
  return rack * MOST_RAILS + rail + 1;
}

/**
 * Where the bytes of one thing lie, summed by domain once: afterwards a node costs a few look-ups, however many hold a part. Shares
 * are of the size; parity, replicas and caches make them more than 1 together.
 */
export class Spread {
  readonly hosts: ReadonlyMap<Slot, Part>;
  readonly rails: ReadonlyMap<number, Part>;
  readonly racks: ReadonlyMap<number, Part>;
  readonly zones: ReadonlyMap<number, Part>;
  /** What lies both in a rack and on a rail, by crossing(): a rail crosses racks, so that it is in the sums of either. */
  readonly crossings: ReadonlyMap<number, Part>;
  readonly all: Part;
  readonly #measured: readonly SpreadPart[];
  readonly #measuredAs: Spread | undefined;
  readonly #rtts = new Map<PlaceId, number | undefined>();

  /** `measuredAs`: one with the same measured parts, whose round trips are worked out already. */
  constructor(parts: readonly SpreadPart[], measuredAs?: Spread) {
    this.#measuredAs = measuredAs;
    this.hosts = sumsBy<Slot>(parts, ({ slot }) => slot, -1);
    this.rails = sumsBy(parts, ({ place }) => place.rail, -1);
    this.racks = sumsBy(parts, ({ place }) => place.rack, undefined);
    this.zones = sumsBy(parts, ({ place }) => place.zone, undefined);
    this.crossings = sumsBy(parts, ({ place }) => crossing(place.rack, place.rail), undefined);
    const all = new Sum();
    for (const { share, load } of parts) all.add(share, load);
    this.all = all.part();
    this.#measured = measuredAs === undefined ? parts.filter(({ rttS }) => rttS !== undefined) : [];
  }

  /** The mean round trip from a place, by shares, of those that measured one. */
  measuredRttS(place: PlaceId): number | undefined {
    if (this.#measuredAs !== undefined) return this.#measuredAs.measuredRttS(place);
    if (this.#measured.length === 0) return undefined;
    if (this.#rtts.has(place)) return this.#rtts.get(place);
    let weight = 0;
    let sum = 0;
    for (const { share, rttS } of this.#measured) {
      const rtt = rttS?.(place);
      if (rtt === undefined) continue;
      weight += share;
      sum += share * rtt;
    }
    const mean = weight > 0 ? sum / weight : undefined;
    this.#rtts.set(place, mean);
    return mean;
  }
}

export const NOWHERE = new Spread([]);
