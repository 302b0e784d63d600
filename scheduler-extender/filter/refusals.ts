/** Why a node cannot take a pod. */
export type Refusal = {
  /** A sentence for people. */
  readonly reason: string;
  /** Whether taking pods from the node could help. */
  readonly resolvable: boolean;
};

export const PASSED = -1;

/** The reasons of one request, each once: 5,000 nodes are refused for a handful of them. */
export class Refusals {
  readonly list: Refusal[] = [];
  readonly #numbers = new Map<string, number>();

  /** The number of the refusal. */
  of(reason: string, resolvable: boolean): number {
    const key = `${resolvable ? '+' : '-'}${reason}`;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.list.push({ reason, resolvable }) - 1;
    this.#numbers.set(key, number);
    return number;
  }
}
