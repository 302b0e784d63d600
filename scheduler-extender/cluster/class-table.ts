import type { StorageClassFacts } from '../kube/index.ts';

/** Storage classes by name, and which one a claim without a name gets. */
export class ClassTable {
  readonly #classes = new Map<string, StorageClassFacts>();

  get count(): number {
    return this.#classes.size;
  }

  put(facts: StorageClassFacts): void {
    this.#classes.set(facts.name, facts);
  }

  remove(name: string): void {
    this.#classes.delete(name);
  }

  find(name: string): StorageClassFacts | undefined {
    return this.#classes.get(name);
  }

  /** Of several the newest, as the API server chooses (admission, DefaultStorageClass); undefined where there is none. */
  byDefault(): StorageClassFacts | undefined {
    let newest: StorageClassFacts | undefined;
    for (const facts of this.#classes.values()) {
      if (!facts.isDefault) continue;
      const isNewer =
        newest === undefined ||
        facts.createdAt > newest.createdAt ||
        (facts.createdAt === newest.createdAt && facts.name < newest.name);
      if (isNewer) newest = facts;
    }
    return newest;
  }
}
