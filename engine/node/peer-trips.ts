import type { NodeReportInit } from '../control/index.ts';
import type { ClusterMap, MapNode } from '../placement/index.ts';

/** Peers asked in one round: one of each rack, and of more racks than these the others next time. */
const MOST_TARGETS = 32;
/** A measurement is of use for so many rounds: long enough to come round to every rack of a large cluster. */
const KEPT_ROUNDS = 30;
/** How much of a new measurement counts: single ones are noisy. */
const FRESH_WEIGHT = 0.3;
/** A zone is silent when nothing in it answered for so many rounds. */
const SILENT_ROUNDS = 3;
/** One peer that does not answer is down; several on several hosts are a zone that cannot be reached. */
const SILENT_HOSTS = 2;
const MOST_REPORTED = 512;
const MOST_SILENT_ZONES = 64;

type Trip = {
  readonly node: MapNode;
  /** Smoothed; 0: never measured. */
  us: number;
  answeredRound: number;
  /** Since it last answered; 0: it does. */
  silentSince: number;
};

function rackOf({ domain: { zone, rack } }: Pick<MapNode, 'domain'>): string {
  return JSON.stringify([zone, rack]);
}

function grouped(trips: Iterable<Trip>, keyOf: (trip: Trip) => string): ReadonlyMap<string, readonly Trip[]> {
  const groups = new Map<string, Trip[]>();
  for (const trip of trips) {
    const key = keyOf(trip);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [trip]);
    else group.push(trip);
  }
  return groups;
}

function medianUs(trips: readonly Trip[]): number {
  const sorted = trips.map(({ us }) => us).sort((a, b) => a - b);
  return Math.max(1, Math.round(sorted[sorted.length >> 1] ?? 1));
}

/** What a stor-node knows of the way to its peers: whom to ask next, and what that has shown by rack and by zone. Pure state. */
export class PeerTrips {
  readonly #self: string;
  readonly #trips = new Map<string, Trip>();
  #round = 0;

  constructor(self: string) {
    this.#self = self;
  }

  /** Whom to ask in the round that begins now: by turns, so that a round costs the same in every cluster. */
  begin(map: ClusterMap): readonly MapNode[] {
    this.#round++;
    const peers = map.nodes.filter(({ id, state }) => id !== this.#self && (state === 'up' || state === 'draining'));
    this.#keep(peers);
    const racks = [...grouped(this.#trips.values(), ({ node }) => rackOf(node)).values()];
    const count = Math.min(MOST_TARGETS, racks.length);
    return Array.from({ length: count }, (_, at) => {
      const turn = (this.#round - 1) * count + at;
      const rack = racks[turn % racks.length] ?? [];
      return rack[Math.floor(turn / racks.length) % rack.length]?.node;
    }).filter((node) => node !== undefined);
  }

  answered(node: MapNode, us: number): void {
    const trip = this.#trips.get(node.id);
    if (trip === undefined) return;
    trip.us = trip.us === 0 ? us : trip.us + FRESH_WEIGHT * (us - trip.us);
    trip.answeredRound = this.#round;
    trip.silentSince = 0;
  }

  /** It does not serve, but its host says so: it can be reached. */
  refused(node: MapNode): void {
    const trip = this.#trips.get(node.id);
    if (trip === undefined) return;
    trip.us = 0;
    trip.silentSince = 0;
  }

  silent(node: MapNode): void {
    const trip = this.#trips.get(node.id);
    if (trip !== undefined && trip.silentSince === 0) trip.silentSince = this.#round;
  }

  report(): Pick<NodeReportInit, 'roundTrips' | 'silentZones'> {
    const answering = [...this.#trips.values()].filter(
      ({ us, silentSince, answeredRound }) => us > 0 && silentSince === 0 && answeredRound + KEPT_ROUNDS > this.#round,
    );
    const byRack = [...grouped(answering, ({ node }) => rackOf(node)).values()].map((trips) => {
      return { ...(trips[0]?.node.domain ?? { zone: '', rack: '' }), us: medianUs(trips) };
    });
    const byZone = [...grouped(answering, ({ node }) => node.domain.zone)].map(([zone, trips]) => {
      return { zone, rack: '', us: medianUs(trips) };
    });
    const roundTrips = [...byZone, ...byRack]
      .slice(0, MOST_REPORTED)
      .map(({ zone, rack, us }) => ({ zone, rack, microseconds: us }));
    return { roundTrips, silentZones: this.#silentZones() };
  }

  /** None while nobody at all answers: then it is this node that is cut off. */
  #silentZones(): string[] {
    const isHeard = [...this.#trips.values()].some(
      ({ answeredRound }) => answeredRound + 1 >= this.#round && answeredRound > 0,
    );
    if (!isHeard) return [];
    const silent: string[] = [];
    for (const [zone, trips] of grouped(this.#trips.values(), ({ node }) => node.domain.zone)) {
      const quiet = trips.filter(({ silentSince }) => silentSince > 0);
      const hosts = new Set(quiet.map(({ node }) => node.domain.host));
      const isLong = quiet.some(({ silentSince }) => silentSince + SILENT_ROUNDS <= this.#round + 1);
      const hasAnswered = trips.some(({ answeredRound, silentSince }) => {
        return silentSince === 0 && answeredRound > 0 && answeredRound + SILENT_ROUNDS > this.#round;
      });
      if (hosts.size >= SILENT_HOSTS && isLong && !hasAnswered) silent.push(zone);
    }
    return silent.sort().slice(0, MOST_SILENT_ZONES);
  }

  /** A node that has moved is another one. */
  #keep(peers: readonly MapNode[]): void {
    const known = new Set(peers.map(({ id }) => id));
    for (const id of this.#trips.keys()) if (!known.has(id as MapNode['id'])) this.#trips.delete(id);
    for (const node of peers) {
      const before = this.#trips.get(node.id);
      const isSame = before !== undefined && rackOf(before.node) === rackOf(node);
      if (isSame && before.node === node) continue;
      const fresh = { us: 0, answeredRound: 0, silentSince: 0 };
      this.#trips.set(node.id, isSame ? { ...before, node } : { ...fresh, node });
    }
  }
}
