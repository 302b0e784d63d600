/** Above this a body is not worth the memory that remembering it takes. */
const REMEMBERED_BYTES = 1 << 20;

/**
 * The answer to a call that is about to come: a scheduler that was told which nodes pass asks next, with the same body, which of them are
 * best, and its one loop stands still until it knows. Holds for that body, byte for byte, while nothing further is heard of the cluster.
 */
export class PreparedOrder {
  #body: Uint8Array | undefined;
  #changes = 0;
  #answer: Buffer = Buffer.alloc(0);

  /** `changes`: of the index, when the answer was made. The body is kept, not copied: nobody writes it again. */
  keep(body: Uint8Array, changes: number, answer: Buffer): void {
    this.#body = body.length > REMEMBERED_BYTES ? undefined : body;
    this.#changes = changes;
    this.#answer = answer;
  }

  find(body: Uint8Array, changes: number): Buffer | undefined {
    if (this.#body === undefined || this.#changes !== changes) return undefined;
    return Buffer.compare(this.#body, body) === 0 ? this.#answer : undefined;
  }
}
