import type { CsiNodeFacts, NodeFacts, Taint } from '../kube/index.ts';
import { ints, longer } from './longer.ts';
import { NameTable, type Slot } from './name-table.ts';
import { type PlaceId, Places } from './places.ts';

export const NO_LIMIT = -1;

export type DeviceColumn = { readonly total: Float64Array; readonly used: Float64Array };

/** What is known of each node, in columns by slot: a request reads a few numbers per name and follows no pointers. */
export class NodeTable {
  readonly names = new NameTable();
  readonly places = new Places();
  /** 1 where the Node object is there: a slot may also be named by pods or storage alone. */
  present = new Uint8Array(1024);
  place = new Int32Array(1024);
  /** 1 where a taint says that storage or the fabric cannot be reached. */
  tainted = new Uint8Array(1024);
  /** 1 where our CSI driver is registered. */
  hasDriver = new Uint8Array(1024);
  attachLimit = new Int32Array(1024).fill(NO_LIMIT);
  /** Volumes of ours that pods on the node use. */
  attached = new Int32Array(1024);
  /** Gb/s; 0: unknown. */
  linkGbps = new Float64Array(1024);
  /** 0 to 1, as the node's own report says. */
  linkLoad = new Float64Array(1024);
  isDirect = new Uint8Array(1024);
  readonly #taints = new Map<Slot, readonly Taint[]>();
  readonly #csi = new Set<Slot>();
  readonly #devices = new Map<string, DeviceColumn>();
  #count = 0;
  #version = 0;

  get count(): number {
    return this.#count;
  }

  /** Changes with what a name of a node means. */
  get version(): number {
    return this.#version + this.names.version;
  }

  /** Referring to a name makes room for its columns. */
  acquire(name: string): Slot {
    const slot = this.names.acquire(name);
    while (slot >= this.present.length) this.#grow();
    return slot;
  }

  release(slot: Slot): void {
    this.names.release(slot);
  }

  /** Whether where it is has changed. */
  put(facts: NodeFacts): boolean {
    let slot = this.names.find(facts.name);
    const isNew = slot < 0 || this.present[slot] !== 1;
    if (isNew) slot = this.acquire(facts.name);
    const place: PlaceId = this.places.of(facts.zone, facts.rack, facts.rail);
    const moved = isNew || this.place[slot] !== place;
    if (isNew) {
      this.#count++;
      this.#version++;
    }
    this.present[slot] = 1;
    this.place[slot] = place;
    this.tainted[slot] = facts.taints.length > 0 ? 1 : 0;
    if (facts.taints.length > 0) this.#taints.set(slot, facts.taints);
    else this.#taints.delete(slot);
    this.linkGbps[slot] = facts.linkGbps ?? 0;
    this.isDirect[slot] = facts.isDirect ? 1 : 0;
    for (const [name, column] of this.#devices) column.total[slot] = facts.devices.get(name) ?? 0;
    for (const [name, units] of facts.devices) this.#column(name).total[slot] = units;
    return moved;
  }

  remove(name: string): boolean {
    const slot = this.names.find(name);
    if (slot < 0 || this.present[slot] !== 1) return false;
    this.#count--;
    this.#version++;
    this.present[slot] = 0;
    this.tainted[slot] = 0;
    this.#taints.delete(slot);
    for (const column of this.#devices.values()) column.total[slot] = 0;
    this.release(slot);
    return true;
  }

  putCsi(facts: CsiNodeFacts): void {
    let slot = this.names.find(facts.name);
    if (slot < 0 || !this.#csi.has(slot)) {
      slot = this.acquire(facts.name);
      this.#csi.add(slot);
    }
    this.hasDriver[slot] = facts.hasDriver ? 1 : 0;
    this.attachLimit[slot] = facts.attachLimit ?? NO_LIMIT;
  }

  removeCsi(name: string): void {
    const slot = this.names.find(name);
    if (slot < 0 || !this.#csi.delete(slot)) return;
    this.hasDriver[slot] = 0;
    this.attachLimit[slot] = NO_LIMIT;
    this.release(slot);
  }

  taintsOf(slot: Slot): readonly Taint[] {
    return this.#taints.get(slot) ?? [];
  }

  /** Undefined where no node and no pod ever named the resource. */
  devices(resource: string): DeviceColumn | undefined {
    return this.#devices.get(resource);
  }

  useDevices(slot: Slot, units: ReadonlyMap<string, number>, sign: 1 | -1): void {
    for (const [name, count] of units) {
      const { used } = this.#column(name);
      used[slot] = (used[slot] ?? 0) + sign * count;
    }
  }

  #column(resource: string): DeviceColumn {
    let column = this.#devices.get(resource);
    if (column === undefined) {
      column = { total: new Float64Array(this.present.length), used: new Float64Array(this.present.length) };
      this.#devices.set(resource, column);
    }
    return column;
  }

  #grow(): void {
    const bytes = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(length);
    const floats = (length: number): Float64Array<ArrayBuffer> => new Float64Array(length);
    this.present = longer(this.present, bytes);
    this.tainted = longer(this.tainted, bytes);
    this.hasDriver = longer(this.hasDriver, bytes);
    this.isDirect = longer(this.isDirect, bytes);
    this.place = longer(this.place, ints);
    this.attached = longer(this.attached, ints);
    this.attachLimit = longer(this.attachLimit, (length) => ints(length).fill(NO_LIMIT));
    this.linkGbps = longer(this.linkGbps, floats);
    this.linkLoad = longer(this.linkLoad, floats);
    for (const [name, { total, used }] of this.#devices) {
      this.#devices.set(name, { total: longer(total, floats), used: longer(used, floats) });
    }
  }
}
