import { ints, longer } from './longer.ts';

/** The number of a zone, a rack, a rail, or of a place: the three of them together. Sites are few; none is ever forgotten. */
export type PlaceId = number;
export const NO_RAIL = -1;

class Numbers {
  readonly names: string[] = [];
  readonly #ids = new Map<string, number>();

  of(name: string): number {
    const known = this.#ids.get(name);
    if (known !== undefined) return known;
    this.#ids.set(name, this.names.length);
    return this.names.push(name) - 1;
  }

  find(name: string): number | undefined {
    return this.#ids.get(name);
  }
}

const FIRST_PLACES = 256;

export type Place = { readonly zone: number; readonly rack: number; readonly rail: number };

/**
 * Where things are. Racks of two zones may share a name, so a rack is its zone and its name; so is a rail, which crosses the racks
 * of a zone.
 */
export class Places {
  readonly #zones = new Numbers();
  readonly #racks = new Numbers();
  readonly #rails = new Numbers();
  readonly #places = new Numbers();
  readonly #all: Place[] = [];
  /** Of place i, in rows, so that thousands are looked at without as many objects being visited. */
  zone = new Int32Array(FIRST_PLACES);
  rack = new Int32Array(FIRST_PLACES);
  rail = new Int32Array(FIRST_PLACES);

  get count(): number {
    return this.#all.length;
  }

  of(zone: string, rack: string, rail: string): PlaceId {
    const place: Place = {
      zone: this.#zones.of(zone),
      rack: this.#racks.of(`${zone}/${rack}`),
      rail: rail === '' ? NO_RAIL : this.#rails.of(`${zone}/${rail}`),
    };
    const id = this.#places.of(`${place.zone}.${place.rack}.${place.rail}`);
    if (this.#all[id] === undefined) this.#keep(id, place);
    return id;
  }

  #keep(id: PlaceId, place: Place): void {
    this.#all[id] = place;
    if (id >= this.zone.length) {
      this.zone = longer(this.zone, ints);
      this.rack = longer(this.rack, ints);
      this.rail = longer(this.rail, ints);
    }
    this.zone[id] = place.zone;
    this.rack[id] = place.rack;
    this.rail[id] = place.rail;
  }

  at(id: PlaceId): Place {
    return this.#all[id] ?? { zone: 0, rack: 0, rail: NO_RAIL };
  }

  zoneName(zone: number): string {
    return this.#zones.names[zone] ?? '';
  }

  /** 'zone/rack' */
  rackPath(rack: number): string {
    return this.#racks.names[rack] ?? '';
  }

  /** 'zone/rail'; '' for NO_RAIL. */
  railPath(rail: number): string {
    return this.#rails.names[rail] ?? '';
  }

  findZone(name: string): number | undefined {
    return this.#zones.find(name);
  }

  findRack(path: string): number | undefined {
    return this.#racks.find(path);
  }
}
