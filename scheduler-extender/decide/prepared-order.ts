import type { ClusterIndex } from '../cluster/index.ts';

/** Above this, with whole nodes in it, a body is worth neither the memory that remembering it takes nor reading it for nothing. */
const MOST_BYTES = 1 << 20;

/**
 * The answer to a call that is about to come: a scheduler that was told which nodes pass asks next, with the same body, which of them are
 * best, and its one loop stands still until it knows. Holds for that body, byte for byte, while nothing further is heard of the cluster
 * that it depends on.
 */
export class PreparedOrder {
  readonly #index: Pick<ClusterIndex, 'changes' | 'podChanges'>;
  #body: Uint8Array | undefined;
  #answer: Buffer = Buffer.alloc(0);
  #changes = 0;
  /** Undefined where it does not depend on other pods, which come and go with every answer. */
  #podChanges: number | undefined;

  constructor(index: Pick<ClusterIndex, 'changes' | 'podChanges'>) {
    this.#index = index;
  }

  takes(body: Uint8Array): boolean {
    return body.length <= MOST_BYTES;
  }

  /** What was found just now. The body is kept, not copied: nobody writes it again. */
  keep(body: Uint8Array, answer: Buffer, { dependsOnPods }: { readonly dependsOnPods: boolean }): void {
    this.#body = body;
    this.#answer = answer;
    this.#changes = this.#index.changes;
    this.#podChanges = dependsOnPods ? this.#index.podChanges : undefined;
  }

  find(body: Uint8Array): Buffer | undefined {
    if (this.#body === undefined || this.#changes !== this.#index.changes) return undefined;
    if (this.#podChanges !== undefined && this.#podChanges !== this.#index.podChanges) return undefined;
    return Buffer.compare(this.#body, body) === 0 ? this.#answer : undefined;
  }
}
