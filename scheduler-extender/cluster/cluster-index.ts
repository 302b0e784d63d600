import type {
  ClaimFacts,
  CsiNodeFacts,
  DeviceClassFacts,
  LocalityReportFacts,
  NodeFacts,
  PersistentVolumeFacts,
  PodFacts,
  ResourceSliceFacts,
  StorageCapacityFacts,
  StorageClassFacts,
} from '../kube/index.ts';
import { CapacityTable } from './capacity-table.ts';
import { ClaimTable } from './claim-table.ts';
import { ClassTable } from './class-table.ts';
import { DeviceClassTable } from './device-class-table.ts';
import { LocalityTable } from './locality-table.ts';
import { NodeTable } from './node-table.ts';
import { NumaTable } from './numa-table.ts';
import { PodTable } from './pod-table.ts';
import { SliceTable } from './slice-table.ts';
import {
  type ContentFacts,
  contentKey,
  type LinkFacts,
  type StorageNodeFacts,
  type VolumeRecordFacts,
} from './storage-facts.ts';
import { StorageTable } from './storage-table.ts';

/** Everything that can be told to the index, and the key by which it goes away again. */
export type FactsOf = {
  /** Key: the name. */
  readonly node: NodeFacts;
  /** Key: the UID. */
  readonly pod: PodFacts;
  /** Key: namespace/name. */
  readonly claim: ClaimFacts;
  /** Key: the name. */
  readonly volume: PersistentVolumeFacts;
  /** Key: the name. */
  readonly storageClass: StorageClassFacts;
  /** Key: the name of the node. */
  readonly csiNode: CsiNodeFacts;
  /** Key: namespace/name. */
  readonly capacity: StorageCapacityFacts;
  /** Key: the id. */
  readonly storageNode: StorageNodeFacts;
  /** Key: the id. */
  readonly record: VolumeRecordFacts;
  /** Key: contentKey(). */
  readonly content: ContentFacts;
  /** Key: the name of the node. */
  readonly link: LinkFacts;
  /** Key: the name of the node. What it says of contents and of its link stands beside what others tell of those. */
  readonly report: LocalityReportFacts;
  /** Key: the name. */
  readonly slice: ResourceSliceFacts;
  /** Key: the name. */
  readonly deviceClass: DeviceClassFacts;
};
export type Kind = keyof FactsOf;

/** What those who know something tell it to. */
export interface ClusterSink {
  put<K extends Kind>(kind: K, facts: FactsOf[K]): void;
  remove(kind: Kind, key: string): void;
}

/** What those who know of one kind tell it to. */
export interface KindSink<K extends Kind> {
  put(kind: K, facts: FactsOf[K]): void;
  remove(kind: K, key: string): void;
}

type Handler<K extends Kind> = {
  key(facts: FactsOf[K]): string;
  put(facts: FactsOf[K]): void;
  remove(key: string): void;
};
type Handlers = { readonly [K in Kind]: Handler<K> };

const byName = ({ name }: { readonly name: string }): string => name;
const byKey = ({ key }: { readonly key: string }): string => key;
const byId = ({ id }: { readonly id: string }): string => id;

/** Hears of each change after it was made. */
export type IndexListener = (kind: Kind, key: string) => void;

/**
 * What the extender knows of a cluster: kept up by each event at the cost of that event, read by requests without a look at anything
 * but the nodes they name. It holds no object of the API, only the few fields that decide.
 */
export class ClusterIndex implements ClusterSink {
  readonly nodes = new NodeTable();
  readonly claims = new ClaimTable(this.nodes);
  readonly pods = new PodTable(this.nodes, this.claims);
  readonly classes = new ClassTable();
  readonly capacities = new CapacityTable();
  readonly slices = new SliceTable(this.nodes);
  readonly numa = new NumaTable(this.nodes);
  readonly deviceClasses = new DeviceClassTable();
  readonly localities = new LocalityTable();
  readonly storage = new StorageTable(this.nodes, this.localities);
  readonly #listeners = new Set<IndexListener>();
  readonly #linked = new Map<string, number>();
  #changes = 0;
  #podChanges = 0;

  readonly #handlers: Handlers = {
    node: {
      key: byName,
      put: (facts) => this.#movedIf(this.nodes.put(facts)),
      remove: (key) => this.#movedIf(this.nodes.remove(key)),
    },
    pod: { key: ({ uid }) => uid, put: (facts) => this.pods.put(facts), remove: (key) => void this.pods.remove(key) },
    claim: { key: byKey, put: (facts) => this.claims.put(facts), remove: (key) => this.claims.remove(key) },
    volume: {
      key: byName,
      put: (facts) => this.claims.putVolume(facts),
      remove: (key) => this.claims.removeVolume(key),
    },
    storageClass: { key: byName, put: (facts) => this.classes.put(facts), remove: (key) => this.classes.remove(key) },
    csiNode: { key: byName, put: (facts) => this.nodes.putCsi(facts), remove: (key) => this.nodes.removeCsi(key) },
    capacity: {
      key: byKey,
      put: (facts) => {
        if (this.capacities.put(facts)) this.storage.growth.notice();
      },
      remove: (key) => this.capacities.remove(key),
    },
    slice: { key: byName, put: (facts) => this.slices.put(facts), remove: (key) => this.slices.remove(key) },
    deviceClass: {
      key: byName,
      put: (facts) => this.deviceClasses.put(facts),
      remove: (key) => this.deviceClasses.remove(key),
    },
    storageNode: { key: byId, put: (facts) => this.storage.put(facts), remove: (key) => this.storage.remove(key) },
    record: {
      key: byId,
      put: (facts) => this.storage.putRecord(facts),
      remove: (key) => this.storage.removeRecord(key),
    },
    content: {
      key: ({ kind, id }) => contentKey(kind, id),
      put: (facts) => this.storage.putContent(facts),
      remove: (key) => this.storage.removeContent(key),
    },
    link: {
      key: ({ node }) => node,
      put: ({ node, load }) => this.#putLink(node, load),
      remove: (key) => this.#removeLink(key),
    },
    report: {
      key: ({ node }) => node,
      put: (facts) => {
        this.localities.put(facts);
        this.numa.put(facts.node, facts.devices);
        if (facts.linkLoad === undefined) this.#removeLink(facts.node);
        else this.#putLink(facts.node, facts.linkLoad);
      },
      remove: (key) => {
        this.localities.remove(key);
        this.numa.remove(key);
        this.#removeLink(key);
      },
    },
  };

  /** Another number whenever something was heard that is no pod. */
  get changes(): number {
    return this.#changes;
  }

  /** Another number whenever something was heard of a pod. */
  get podChanges(): number {
    return this.#podChanges;
  }

  put<K extends Kind>(kind: K, facts: FactsOf[K]): void {
    const handler = this.#handlers[kind];
    this.#count(kind);
    handler.put(facts);
    if (this.#listeners.size > 0) this.#tell(kind, handler.key(facts));
  }

  remove(kind: Kind, key: string): void {
    this.#count(kind);
    this.#handlers[kind].remove(key);
    this.#tell(kind, key);
  }

  /** Returns what ends it. */
  onChange(listener: IndexListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #count(kind: Kind): void {
    if (kind === 'pod') this.#podChanges++;
    else this.#changes++;
  }

  #tell(kind: Kind, key: string): void {
    for (const listener of this.#listeners) listener(kind, key);
  }

  #movedIf(moved: boolean): void {
    if (moved) this.storage.moved();
  }

  #putLink(node: string, load: number): void {
    const slot = this.#linked.get(node) ?? this.nodes.acquire(node);
    this.#linked.set(node, slot);
    this.nodes.linkLoad[slot] = Math.min(Math.max(load, 0), 1);
  }

  #removeLink(node: string): void {
    const slot = this.#linked.get(node);
    if (slot === undefined) return;
    this.#linked.delete(node);
    this.nodes.linkLoad[slot] = 0;
    this.nodes.release(slot);
  }
}
