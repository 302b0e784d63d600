import type { DeadlineWatcher } from '../../../common/concurrency/index.ts';
import { NabuError } from '../../../common/errors/index.ts';
import type { Clock, Timer } from '../../../common/ports/index.ts';
import type { CallDeadline } from '../transport.ts';

/** The deadline that came with a request. Signal and timer are made when somebody asks: most requests never do. */
export class WireDeadline implements CallDeadline {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #atMs: number;
  #controller: AbortController | undefined;
  #timer: Timer | undefined;
  #ended: NabuError | undefined;
  #watchers: Set<DeadlineWatcher> | undefined;

  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#atMs = clock.monotonicMs() + timeoutMs;
  }

  remainingMs(): number {
    return Math.max(0, this.#atMs - this.#clock.monotonicMs());
  }

  get expired(): boolean {
    return this.#ended !== undefined || this.remainingMs() === 0;
  }

  get reason(): NabuError | undefined {
    return this.#ended ?? (this.expired ? this.#timeout() : undefined);
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#ended !== undefined) this.#controller.abort(this.#ended);
      else this.#setTimer();
    }
    return this.#controller.signal;
  }

  watch(watcher: DeadlineWatcher): void {
    if (this.#ended !== undefined) return;
    this.#watchers ??= new Set();
    this.#watchers.add(watcher);
    this.#setTimer();
  }

  unwatch(watcher: DeadlineWatcher): void {
    this.#watchers?.delete(watcher);
  }

  /** The peer cancelled, or is gone. */
  end(reason: NabuError): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#timer?.cancel();
    this.#controller?.abort(reason);
    for (const watcher of this.#watchers ?? []) watcher.deadlineEnded();
    this.#watchers = undefined;
  }

  /** The request is over: no timer stays behind. */
  dispose(): void {
    this.#timer?.cancel();
  }

  #setTimer(): void {
    const options = { background: true };
    this.#timer ??= this.#clock.setTimer(() => this.end(this.#timeout()), this.remainingMs(), options);
  }

  #timeout(): NabuError {
    return NabuError.of('TIMEOUT', { operation: 'a request of a peer', timeoutMs: this.#timeoutMs });
  }
}
