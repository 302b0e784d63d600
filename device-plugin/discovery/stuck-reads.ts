/** Node's own default (libuv, threadpool.c). */
const POOL_THREADS = 4;
/** Two threads are left for everything else that this process does with files. */
const MAX_STUCK = Math.max(1, (Number(process.env.UV_THREADPOOL_SIZE) || POOL_THREADS) - 2);

/**
 * The reads that a hanging driver or firmware never answered. Each holds a thread of Node's pool until it returns, so a path
 * that is stuck is not asked again, and once only two threads are left no file is read: names and links, which the kernel
 * answers without the driver, still are. Whoever discovers again and again keeps one of these between the times.
 */
export class StuckReads {
  readonly #paths = new Set<string>();
  readonly #onReturn: () => void;
  #withheld: ReadonlySet<string> = new Set();

  /** `onReturn` hears of each read that has returned after all: what it is about can be asked again. */
  constructor(onReturn: () => void = () => undefined) {
    this.#onReturn = onReturn;
  }

  /** Why the path is not to be asked now, or undefined. */
  refusal(path: string, asksDriver: boolean): string | undefined {
    if (this.#paths.has(path)) return 'an earlier read of it has not returned yet';
    if (asksDriver && this.#paths.size >= MAX_STUCK)
      return `not read: ${[...this.#paths].sort().join(' and ')} have not returned yet`;
    return undefined;
  }

  /** Remembers the path until the read settles. */
  add(path: string, read: Promise<unknown>): void {
    this.#paths.add(path);
    const forget = (): void => {
      this.#paths.delete(path);
      this.#onReturn();
    };
    read.then(forget, forget);
  }

  /**
   * Files that somebody else has found to hang, as discovery names them ('/sys/class/infiniband/mlx5_0/ports/1/state'): until
   * the next call they are not read. They hold no thread here and so keep no other from being read.
   */
  withhold(paths: Iterable<string>): void {
    this.#withheld = new Set(paths);
  }

  /** Whether the file, as it is named and not where its links lead, is not to be asked now. */
  isWithheld(path: string): boolean {
    return this.#withheld.has(path);
  }
}
