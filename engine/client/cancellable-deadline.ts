import type { DeadlineWatcher } from '../../common/concurrency/index.ts';
import type { NabuError } from '../../common/errors/index.ts';
import type { CallDeadline } from '../transport/index.ts';

/** Ends with another deadline, or earlier when it is cancelled. Watches the other only while it is watched itself. */
export class CancellableDeadline implements CallDeadline, DeadlineWatcher {
  readonly #outer: CallDeadline;
  readonly #watchers = new Set<DeadlineWatcher>();
  #controller: AbortController | undefined;
  #cancelled: NabuError | undefined;

  constructor(outer: CallDeadline) {
    this.#outer = outer;
  }

  get expired(): boolean {
    return this.#cancelled !== undefined || this.#outer.expired;
  }

  get reason(): NabuError | undefined {
    return this.#cancelled ?? this.#outer.reason;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.expired) this.#controller.abort(this.reason);
      else this.#outer.watch(this);
    }
    return this.#controller.signal;
  }

  remainingMs(): number {
    return this.#cancelled === undefined ? this.#outer.remainingMs() : 0;
  }

  watch(watcher: DeadlineWatcher): void {
    if (this.expired) return;
    this.#watchers.add(watcher);
    this.#outer.watch(this);
  }

  unwatch(watcher: DeadlineWatcher): void {
    this.#watchers.delete(watcher);
    if (this.#watchers.size === 0 && this.#controller === undefined) this.#outer.unwatch(this);
  }

  cancel(reason: NabuError): void {
    if (this.expired) return;
    this.#cancelled = reason;
    this.#outer.unwatch(this);
    this.#tell();
  }

  deadlineEnded(): void {
    if (this.#cancelled === undefined) this.#tell();
  }

  #tell(): void {
    this.#controller?.abort(this.reason);
    for (const watcher of this.#watchers) watcher.deadlineEnded();
    this.#watchers.clear();
  }
}
