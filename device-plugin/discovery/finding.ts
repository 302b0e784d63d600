/** Something in a tree that could not be used: which entry, and why. The rest of the inventory stands without it. */
export type Finding = { readonly path: string; readonly reason: string };

const MAX_FINDINGS = 1000;

/** What was found wrong during one discovery: each thing once, at most 1,000, the rest only counted. */
export class Findings {
  readonly #byKey = new Map<string, Finding>();
  #leftOut = 0;

  add(path: string, reason: string): void {
    const key = `${path}\n${reason}`;
    if (this.#byKey.has(key)) return;
    if (this.#byKey.size < MAX_FINDINGS) this.#byKey.set(key, { path, reason });
    else this.#leftOut++;
  }

  /** By path, then reason; last, how many were left out. */
  sorted(): readonly Finding[] {
    const findings = [...this.#byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, finding]) => finding);
    return this.#leftOut === 0 ? findings : [...findings, { path: '/', reason: `${this.#leftOut} more findings` }];
  }
}
