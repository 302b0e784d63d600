import { rawBytes, shardCount } from '../../engine/blob/index.ts';
import type { FailureDomain } from '../../engine/placement/index.ts';
import { Growth } from './growth.ts';
import type { LocalityTable } from './locality-table.ts';
import { NO_SLOT, type Slot } from './name-table.ts';
import type { NodeTable } from './node-table.ts';
import type { Place, PlaceId } from './places.ts';
import { Spread, type SpreadPart } from './spread.ts';
import {
  type ContentFacts,
  contentKey,
  type Holder,
  type StorageNodeFacts,
  type VolumeRecordFacts,
} from './storage-facts.ts';

/** A saturated node still answers. */
const MOST_LOAD = 0.95;
/** engine/control, CapacityLedger: of each hundred raw bytes so many can be promised. */
const PROMISED_SHARE = 0.9;

/** Failure domains of one kind that a zone of compute nodes can reach. */
export type Reach = {
  /** With a place for new data: nodes that are up, or down and expected back. */
  readonly placing: number;
  /** That answer now. */
  readonly up: number;
};

/** What the storage nodes are together, computed when they have changed. */
type Shape = {
  readonly zones: ReadonlySet<string>;
  readonly rawBytes: number;
  readonly reach: Map<string, Reach>;
  readonly evenly: Spread;
  readonly parts: readonly SpreadPart[];
};

export function rawBytesOf({
  policy,
  thin,
  sizeBytes,
}: Pick<VolumeRecordFacts, 'policy' | 'thin' | 'sizeBytes'>): number {
  return thin ? 0 : Number(rawBytes(policy, BigInt(sizeBytes)));
}

function domainName({ zone, rack, host }: StorageNodeFacts, kind: FailureDomain): string {
  if (kind === 'zone') return zone;
  return kind === 'rack' ? `${zone}/${rack}` : `${zone}/${rack}/${host}`;
}

/** Storage nodes, volume records and contents, and where their bytes lie. */
export class StorageTable {
  readonly growth = new Growth();
  readonly #nodes: NodeTable;
  readonly #localities: LocalityTable;
  readonly #storage = new Map<string, StorageNodeFacts>();
  readonly #records = new Map<string, VolumeRecordFacts>();
  readonly #recordNames = new Map<string, string>();
  readonly #contents = new Map<string, ContentFacts>();
  readonly #contentNames = new Map<string, string>();
  #reservedBytes = 0;
  #shape: Shape | undefined;
  #version = 0;
  /** From each place: many volumes lie on one storage node, and a pod is asked about from all places. */
  readonly #rtts = new WeakMap<StorageNodeFacts, Float64Array>();
  #spreads = new WeakMap<object, { readonly version: number; readonly spread: Spread }>();

  constructor(nodes: NodeTable, localities: LocalityTable) {
    this.#nodes = nodes;
    this.#localities = localities;
  }

  /** Nobody has told of any storage node: nothing is known of the cluster's capacity and domains. */
  get isUnknown(): boolean {
    return this.#storage.size === 0;
  }

  get counts(): { readonly storageNodes: number; readonly records: number; readonly contents: number } {
    return { storageNodes: this.#storage.size, records: this.#records.size, contents: this.#contents.size };
  }

  /** Raw bytes that may still be promised; below zero when too much is. */
  get freeBytes(): number {
    return this.#shaped().rawBytes * PROMISED_SHARE - this.#reservedBytes;
  }

  get zones(): ReadonlySet<string> {
    return this.#shaped().zones;
  }

  /** Where a new volume's bytes will lie, as far as one can say: over all storage nodes by their capacity. */
  get evenly(): Spread {
    return this.#shaped().evenly;
  }

  put(facts: StorageNodeFacts): void {
    this.#storage.set(facts.id, { ...facts, load: Math.min(Math.max(facts.load, 0), MOST_LOAD) });
    this.moved();
  }

  remove(id: string): void {
    if (this.#storage.delete(id)) this.moved();
  }

  putRecord(facts: VolumeRecordFacts): void {
    this.removeRecord(facts.id);
    this.#records.set(facts.id, facts);
    this.#recordNames.set(facts.name, facts.id);
    this.#reservedBytes += rawBytesOf(facts);
  }

  removeRecord(id: string): void {
    const before = this.#records.get(id);
    if (before === undefined) return;
    this.#records.delete(id);
    if (this.#recordNames.get(before.name) === id) this.#recordNames.delete(before.name);
    this.#reservedBytes -= rawBytesOf(before);
  }

  record(id: string): VolumeRecordFacts | undefined {
    return this.#records.get(id);
  }

  hasRecordNamed(name: string): boolean {
    return this.#recordNames.has(name);
  }

  putContent(facts: ContentFacts): void {
    const key = contentKey(facts.kind, facts.id);
    this.removeContent(key);
    this.#contents.set(key, facts);
    for (const name of facts.names) this.#contentNames.set(contentKey(facts.kind, name), key);
  }

  removeContent(key: string): void {
    const before = this.#contents.get(key);
    if (before === undefined) return;
    this.#contents.delete(key);
    for (const name of before.names) {
      const named = contentKey(before.kind, name);
      if (this.#contentNames.get(named) === key) this.#contentNames.delete(named);
    }
  }

  /** By id, or by name; else what nodes report of it. */
  content(kind: ContentFacts['kind'], name: string): ContentFacts | undefined {
    const key = contentKey(kind, name);
    const told = this.#contents.get(key) ?? this.#contents.get(this.#contentNames.get(key) ?? '');
    return told ?? this.#localities.find(kind, name);
  }

  /** Storage nodes or nodes are somewhere else now: what was derived from where they were is derived anew when it is asked for. */
  moved(): void {
    this.#version++;
    this.#shape = undefined;
  }

  /** Failure domains of a kind that compute nodes in the zone can reach. */
  reach(zone: string, kind: FailureDomain): Reach {
    const { reach } = this.#shaped();
    const key = `${kind} ${zone}`;
    let found = reach.get(key);
    if (found === undefined) {
      found = this.#reachOf(zone, kind);
      reach.set(key, found);
    }
    return found;
  }

  /** Of these storage nodes, how many answer compute nodes in the zone. Unknown ones do not. */
  upAmong(ids: readonly string[], zone: string): number {
    let up = 0;
    for (const id of ids) {
      const node = this.#storage.get(id);
      const serves = node?.state === 'up' || node?.state === 'draining';
      if (serves && !node.cutOffZones.includes(zone)) up++;
    }
    return up;
  }

  spreadOfRecord(record: VolumeRecordFacts): Spread {
    return this.#spreadOf(record, () => {
      const homes = record.homeSet.flatMap((id) => this.#storage.get(id) ?? []);
      const share = shardCount(record.policy) / record.policy.k / Math.max(1, homes.length);
      return new Spread(homes.map((home) => this.#partOf(home, share)));
    });
  }

  spreadOfContent(content: ContentFacts): Spread {
    return this.#spreadOf(content, () => {
      const held = content.holders.flatMap((holder) => this.#partsOfHolder(holder, Math.max(1, content.sizeBytes)));
      if (content.isStored !== true) return new Spread(held);
      const { parts, evenly } = this.#shaped();
      const isMeasured = held.some(({ rttS }) => rttS !== undefined);
      return new Spread([...held, ...parts], isMeasured ? undefined : evenly);
    });
  }

  /** Equal shares on nodes of Kubernetes. */
  spreadOfSlots(slots: Iterable<Slot>): Spread {
    const present = [...slots].filter((slot) => this.#nodes.present[slot] === 1);
    return new Spread(present.map((slot) => this.#partOfSlot(slot, 1 / present.length)));
  }

  #spreadOf(owner: object, spreadNow: () => Spread): Spread {
    const known = this.#spreads.get(owner);
    if (known?.version === this.#version) return known.spread;
    const spread = spreadNow();
    this.#spreads.set(owner, { version: this.#version, spread });
    return spread;
  }

  #partsOfHolder({ node, isStorage, bytes }: Holder, sizeBytes: number): SpreadPart[] {
    const share = bytes / sizeBytes;
    if (isStorage) {
      const storage = this.#storage.get(node);
      return storage === undefined ? [] : [this.#partOf(storage, share)];
    }
    const slot = this.#nodes.names.find(node);
    return slot === NO_SLOT || this.#nodes.present[slot] !== 1 ? [] : [this.#partOfSlot(slot, share)];
  }

  #partOfSlot(slot: Slot, share: number): SpreadPart {
    const place = this.#nodes.places.at(this.#nodes.place[slot] ?? 0);
    return { share, place, slot, load: 0, rttS: undefined };
  }

  #partOf(storage: StorageNodeFacts, share: number): SpreadPart {
    const { places } = this.#nodes;
    const slot = this.#nodes.names.find(storage.host);
    const isNode = slot !== NO_SLOT && this.#nodes.present[slot] === 1;
    const place = isNode
      ? places.at(this.#nodes.place[slot] ?? 0)
      : places.at(places.of(storage.zone, storage.rack, ''));
    const rttS = storage.rttUs.size === 0 ? undefined : (from: PlaceId) => this.#rttFrom(storage, from);
    return { share, place, slot: isNode ? slot : NO_SLOT, load: storage.load, rttS };
  }

  /** NaN: not worked out yet; below zero: not measured. */
  #rttFrom(storage: StorageNodeFacts, from: PlaceId): number | undefined {
    let known = this.#rtts.get(storage);
    if (known === undefined || known.length <= from) {
      known = new Float64Array(this.#nodes.places.count).fill(Number.NaN);
      this.#rtts.set(storage, known);
    }
    let rttS = known[from] ?? Number.NaN;
    if (Number.isNaN(rttS)) {
      rttS = this.#rttOf(storage, this.#nodes.places.at(from)) ?? -1;
      known[from] = rttS;
    }
    return rttS < 0 ? undefined : rttS;
  }

  #rttOf({ rttUs }: StorageNodeFacts, { rack, zone }: Place): number | undefined {
    const { places } = this.#nodes;
    const us = rttUs.get(places.rackPath(rack)) ?? rttUs.get(places.zoneName(zone));
    return us === undefined ? undefined : us / 1e6;
  }

  #shaped(): Shape {
    this.#shape ??= this.#newShape();
    return this.#shape;
  }

  #newShape(): Shape {
    const there = [...this.#storage.values()].filter(({ state }) => state !== 'out');
    const sum = there.reduce((total, { capacityBytes }) => total + capacityBytes, 0);
    const share = (node: StorageNodeFacts): number => (sum > 0 ? node.capacityBytes / sum : 1 / there.length);
    const parts = there.map((node) => this.#partOf(node, share(node)));
    return {
      zones: new Set(there.map(({ zone }) => zone)),
      rawBytes: sum,
      reach: new Map(),
      evenly: new Spread(parts),
      parts,
    };
  }

  #reachOf(zone: string, kind: FailureDomain): Reach {
    const reachable = [...this.#storage.values()].filter(({ cutOffZones }) => !cutOffZones.includes(zone));
    const domains = (states: readonly string[]): number =>
      new Set(reachable.filter(({ state }) => states.includes(state)).map((node) => domainName(node, kind))).size;
    return { placing: domains(['up', 'down']), up: domains(['up']) };
  }
}
