import type { StorageCapacityFacts } from '../kube/index.ts';

/** What can be made of a class where a node is, by what the provisioner has published. */
export type Published = {
  /** Of the object that says so. */
  readonly key: string;
  readonly capacityBytes: number;
  readonly maxVolumeBytes: number;
};

const NONE: readonly StorageCapacityFacts[] = Object.freeze([]);

/** CSIStorageCapacity objects by class: one per zone in our driver, so few. */
export class CapacityTable {
  readonly #byKey = new Map<string, StorageCapacityFacts>();
  readonly #byClass = new Map<string, StorageCapacityFacts[]>();

  get count(): number {
    return this.#byKey.size;
  }

  /** Whether anything was published for the class at all: without it, nothing is known. */
  has(className: string): boolean {
    return this.#byClass.has(className);
  }

  find(key: string): StorageCapacityFacts | undefined {
    return this.#byKey.get(key);
  }

  /** Whether there is more than before; of what is told for the first time nothing was known before. */
  put(facts: StorageCapacityFacts): boolean {
    const before = this.#byKey.get(facts.key);
    this.remove(facts.key);
    this.#byKey.set(facts.key, facts);
    const ofClass = this.#byClass.get(facts.className) ?? [];
    ofClass.push(facts);
    this.#byClass.set(facts.className, ofClass);
    return before !== undefined && (facts.capacityBytes ?? 0) > (before.capacityBytes ?? 0);
  }

  remove(key: string): void {
    const before = this.#byKey.get(key);
    if (before === undefined) return;
    this.#byKey.delete(key);
    const left = (this.#byClass.get(before.className) ?? []).filter((facts) => facts !== before);
    if (left.length > 0) this.#byClass.set(before.className, left);
    else this.#byClass.delete(before.className);
  }

  /** Whether capacities of the class differ between nodes of one zone. */
  isPerNode(className: string): boolean {
    return (this.#byClass.get(className) ?? NONE).some(({ segment }) => segment?.nodes !== undefined);
  }

  /** The largest that a node in the zone can use; undefined: none. */
  published(className: string, zone: string, node: string): Published | undefined {
    let best: Published | undefined;
    for (const { key, segment, capacityBytes, maxVolumeBytes } of this.#byClass.get(className) ?? NONE) {
      if (segment === undefined || capacityBytes === undefined) continue;
      if (segment.zones?.includes(zone) === false || segment.nodes?.includes(node) === false) continue;
      if (best !== undefined && best.capacityBytes >= capacityBytes) continue;
      best = { key, capacityBytes, maxVolumeBytes: Math.min(maxVolumeBytes ?? capacityBytes, capacityBytes) };
    }
    return best;
  }
}
