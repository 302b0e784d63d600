import type { HeldContent, LocalityReportFacts } from '../kube/index.ts';
import { type ContentFacts, contentKey } from './storage-facts.ts';

type Kind = ContentFacts['kind'];

/** What one node says of a content. */
type Holding = {
  readonly names: readonly string[];
  readonly sizeBytes: number;
  readonly cachedBytes: number;
  readonly isStored: boolean;
};

/** Caches move all the time; below this share of a content nothing is derived anew. */
const NOTICED_SHARE = 0.01;
/** What more nodes than these have is not put together anew for each of their reports: that takes milliseconds. */
const MANY_HOLDERS = 256;
/** Of many, so many in a hundred may have said something else meanwhile. */
const LATE_SHARE = 0.06;
/** After so often it is put together anew whatever has changed. */
const MOST_LATE_LOOKS = 256;
const NO_NAMES: readonly string[] = Object.freeze([]);

const isSameList = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((name, at) => name === b[at]);

/** A model or a pool, as all who report it say together. */
class Content {
  readonly kind: Kind;
  readonly id: string;
  readonly holdings = new Map<string, Holding>();
  /** How many call it so. */
  readonly names = new Map<string, number>();
  #facts: ContentFacts | undefined;
  /** Since it was put together. */
  #changes = 0;
  #looks = 0;
  #lastNames: readonly string[] = NO_NAMES;

  constructor(kind: Kind, id: string) {
    this.kind = kind;
    this.id = id;
  }

  hold(node: string, holding: Holding): void {
    this.#lastNames = isSameList(this.#lastNames, holding.names) ? this.#lastNames : holding.names;
    this.holdings.set(node, { ...holding, names: this.#lastNames });
    this.#changes++;
  }

  letGo(node: string): void {
    this.holdings.delete(node);
    this.#changes++;
  }

  votes(name: string): number {
    return name === this.id ? this.holdings.size : (this.names.get(name) ?? 0);
  }

  /** The middle of the sizes that are told and what most say of storage: no one node decides about the others. */
  facts(): ContentFacts {
    if (this.#facts !== undefined && !this.#isOld()) return this.#facts;
    this.#changes = 0;
    this.#looks = 0;
    const sizes = Float64Array.from(this.holdings.values(), ({ sizeBytes }) => sizeBytes).sort();
    const sizeBytes = sizes[sizes.length >> 1] ?? 0;
    let stored = 0;
    const holders: ContentFacts['holders'][number][] = [];
    for (const [node, holding] of this.holdings) {
      if (holding.isStored) stored++;
      if (holding.cachedBytes === 0) continue;
      holders.push({ node, isStorage: false, bytes: Math.min(holding.cachedBytes, sizeBytes) });
    }
    const isStored = stored * 2 > this.holdings.size;
    this.#facts = { kind: this.kind, id: this.id, names: [...this.names.keys()], sizeBytes, holders, isStored };
    return this.#facts;
  }

  #isOld(): boolean {
    if (this.#changes === 0 || this.holdings.size <= MANY_HOLDERS) return this.#changes > 0;
    this.#looks++;
    return this.#changes > this.holdings.size * LATE_SHARE || this.#looks >= MOST_LATE_LOOKS;
  }
}

function isNoticed(before: Holding | undefined, { names, sizeBytes, cachedBytes, isStored }: HeldContent): boolean {
  if (before === undefined || before.isStored !== isStored || !isSameList(before.names, names)) return true;
  const least = NOTICED_SHARE * before.sizeBytes;
  return [sizeBytes - before.sizeBytes, cachedBytes - before.cachedBytes].some(
    (by) => by !== 0 && Math.abs(by) >= least,
  );
}

/**
 * What nodes say that they have, by content: kept up by each report at the cost of that report, put together when a pod asks. A name
 * means the content that most who hold one of that name mean.
 */
export class LocalityTable {
  readonly #reports = new Map<string, readonly Content[]>();
  readonly #contents = new Map<string, Content>();
  readonly #named = new Map<string, readonly Content[]>();

  get counts(): { readonly reports: number; readonly contents: number } {
    return { reports: this.#reports.size, contents: this.#contents.size };
  }

  put({ node, contents }: LocalityReportFacts): void {
    const before = this.#reports.get(node) ?? [];
    const now = contents.map((held) => this.#hold(node, held));
    const kept = new Set(now);
    for (const content of before) if (!kept.has(content)) this.#letGo(node, content);
    this.#reports.set(node, now);
  }

  remove(node: string): void {
    for (const content of this.#reports.get(node) ?? []) this.#letGo(node, content);
    this.#reports.delete(node);
  }

  /** By id, or by one of its names. */
  find(kind: Kind, name: string): ContentFacts | undefined {
    let best: Content | undefined;
    for (const content of this.#named.get(contentKey(kind, name)) ?? []) {
      const more = content.votes(name) - (best?.votes(name) ?? 0);
      if (best === undefined || more > 0 || (more === 0 && content.id < best.id)) best = content;
    }
    return best?.facts();
  }

  #hold(node: string, held: HeldContent): Content {
    const key = contentKey(held.kind, held.id);
    let content = this.#contents.get(key);
    if (content === undefined) {
      content = new Content(held.kind, held.id);
      this.#contents.set(key, content);
      this.#enlist(content, held.id);
    }
    const before = content.holdings.get(node);
    if (!isNoticed(before, held)) return content;
    if (before !== undefined) this.#withdraw(content, before);
    for (const name of held.names) {
      const votes = content.names.get(name) ?? 0;
      content.names.set(name, votes + 1);
      if (votes === 0 && name !== content.id) this.#enlist(content, name);
    }
    const { names, sizeBytes, cachedBytes, isStored } = held;
    content.hold(node, { names, sizeBytes, cachedBytes, isStored });
    return content;
  }

  #letGo(node: string, content: Content): void {
    const before = content.holdings.get(node);
    if (before === undefined) return;
    this.#withdraw(content, before);
    content.letGo(node);
    if (content.holdings.size > 0) return;
    this.#contents.delete(contentKey(content.kind, content.id));
    this.#strike(content, content.id);
  }

  #withdraw(content: Content, { names }: Holding): void {
    for (const name of names) {
      const votes = (content.names.get(name) ?? 0) - 1;
      if (votes > 0) {
        content.names.set(name, votes);
        continue;
      }
      content.names.delete(name);
      if (name !== content.id) this.#strike(content, name);
    }
  }

  #enlist(content: Content, name: string): void {
    const key = contentKey(content.kind, name);
    this.#named.set(key, [...(this.#named.get(key) ?? []), content]);
  }

  #strike(content: Content, name: string): void {
    const key = contentKey(content.kind, name);
    const left = (this.#named.get(key) ?? []).filter((other) => other !== content);
    if (left.length > 0) this.#named.set(key, left);
    else this.#named.delete(key);
  }
}
