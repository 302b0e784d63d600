/**
 * Whether somebody has said that there is more room since control was last asked. Published capacities come by a watch and control is
 * read every few seconds: what a new storage node brings is published first, and pods that are woken by that would be refused by
 * figures of before, with nothing to wake them again.
 */
export class Growth {
  readonly #listeners = new Set<() => void>();
  #noticed = 0;
  #read = 0;

  /** A number of what was noticed so far: for `read`. */
  get noticed(): number {
    return this.#noticed;
  }

  /** What control has said is older than something that was published. */
  get isUnread(): boolean {
    return this.#read < this.#noticed;
  }

  /** Hears at once of growth. Answers how to stop that. */
  onNotice(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A published capacity has risen. */
  notice(): void {
    this.#noticed++;
    for (const listener of this.#listeners) listener();
  }

  /** Control was read, all of it after the growth of that number. */
  read(noticed: number): void {
    this.#read = Math.max(this.#read, noticed);
  }
}
