const OTHERS = 'others';

/**
 * Values of one label, of which there are never more than a bound: each distinct value is a time series for ever. Those
 * that come after are one.
 */
export class BoundedNames {
  readonly #limit: number;
  readonly #known = new Set<string>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  of(name: string): string {
    if (this.#known.has(name)) return name;
    if (this.#known.size >= this.#limit) return OTHERS;
    this.#known.add(name);
    return name;
  }
}
