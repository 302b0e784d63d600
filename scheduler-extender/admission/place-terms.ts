import type { ClusterIndex, Place, PlaceId } from '../cluster/index.ts';
import { type PlaceLabels, UNNAMED } from '../kube/index.ts';
import type { Requirement, Term } from './node-terms.ts';

type Requirements = readonly Requirement[];

/**
 * The nodes whose first label of these has one of the values: alternatives, of which a node matches one at most. Nodes that have none
 * of the labels are in UNNAMED.
 */
function labelled(keys: readonly string[], values: readonly string[]): Requirements[] {
  const without = (count: number): Requirement[] =>
    keys.slice(0, count).map((key) => ({ key, operator: 'DoesNotExist' }));
  const named = keys.map((key, at) => [...without(at), { key, operator: 'In', values: [...values].sort() }]);
  return values.includes(UNNAMED) ? [...named, without(keys.length)] : named;
}

const both = (a: readonly Requirements[], b: readonly Requirements[]): Requirements[] =>
  a.flatMap((one) => b.map((other) => [...one, ...other]));

/** A rack or rail is called 'zone/name', and no label value has a slash. */
const nameIn = (path: string): string => path.slice(path.indexOf('/') + 1);

function grouped<K, V>(items: Iterable<V>, keyOf: (item: V) => K): Map<K, V[]> {
  const groups = new Map<K, V[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/**
 * Places as terms over the labels that name them: whole zones, else whole racks, else rails of racks. A node matches one of the terms at
 * most, so that weights do not add up. Pure.
 */
export class PlaceTerms {
  readonly #index: ClusterIndex;
  readonly #labels: PlaceLabels;
  readonly #zones: ReadonlyMap<number, readonly PlaceId[]>;
  /** In how many zones there is a rack of a name: most are in one, and then the zone need not be said. */
  readonly #zonesOfRack = new Map<string, Set<number>>();

  /** `all`: the places where there are nodes. */
  constructor(all: Iterable<PlaceId>, index: ClusterIndex, labels: PlaceLabels) {
    this.#index = index;
    this.#labels = labels;
    this.#zones = grouped(all, (id) => this.#at(id).zone);
    for (const [zone, ids] of this.#zones) {
      for (const id of ids) {
        const name = this.#rackName(this.#at(id).rack);
        this.#zonesOfRack.set(name, (this.#zonesOfRack.get(name) ?? new Set()).add(zone));
      }
    }
  }

  of(places: ReadonlySet<PlaceId>): Term[] {
    const zones: string[] = [];
    const racks: string[] = [];
    const narrow: Requirements[] = [];
    for (const [zone, ids] of this.#zones) {
      const mine = ids.filter((id) => places.has(id));
      if (mine.length === 0) continue;
      if (mine.length === ids.length) {
        zones.push(this.#index.nodes.places.zoneName(zone));
        continue;
      }
      const inZone = labelled(this.#labels.zone, [this.#index.nodes.places.zoneName(zone)]);
      const sharedRacks: string[] = [];
      const rails: PlaceId[] = [];
      const sizes = grouped(ids, (id) => this.#at(id).rack);
      for (const [rack, within] of grouped(mine, (id) => this.#at(id).rack)) {
        const name = this.#rackName(rack);
        if (within.length < (sizes.get(rack)?.length ?? 0)) rails.push(...within);
        else if (name === UNNAMED || (this.#zonesOfRack.get(name)?.size ?? 0) > 1) sharedRacks.push(name);
        else racks.push(name);
      }
      if (sharedRacks.length > 0) narrow.push(...both(inZone, labelled(this.#labels.rack, sharedRacks)));
      for (const [rail, within] of grouped(rails, (id) => this.#at(id).rail)) {
        const names = within.map((id) => this.#rackName(this.#at(id).rack));
        narrow.push(...both(both(inZone, labelled(this.#labels.rack, names)), this.#onRail(rail)));
      }
    }
    const whole = zones.length === 0 ? [] : labelled(this.#labels.zone, zones);
    const inRacks = racks.length === 0 ? [] : labelled(this.#labels.rack, racks);
    return [...whole, ...inRacks, ...narrow].map((matchExpressions) => ({ matchExpressions }));
  }

  #onRail(rail: number): Requirements[] {
    const path = this.#index.nodes.places.railPath(rail);
    if (path !== '') return labelled(this.#labels.rail, [nameIn(path)]);
    return [this.#labels.rail.map((key) => ({ key, operator: 'DoesNotExist' }))];
  }

  #rackName(rack: number): string {
    return nameIn(this.#index.nodes.places.rackPath(rack));
  }

  #at(id: PlaceId): Place {
    return this.#index.nodes.places.at(id);
  }
}
