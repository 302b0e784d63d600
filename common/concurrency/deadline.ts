import { NabuError } from '../errors/index.ts';
import type { Clock, Timer } from '../ports/index.ts';
import { abortError, raceAbort } from './abort.ts';

export type DeadlineOptions = {
  readonly clock: Clock;
  /** Names the work in the TIMEOUT error. */
  readonly operation: string;
  readonly timeoutMs: number;
  /** Also ends when this does (the caller went away, an outer deadline passed). */
  readonly parent?: AbortSignal | undefined;
};

/** Told once that a deadline has ended. */
export interface DeadlineWatcher {
  deadlineEnded(): void;
}

/**
 * A point in time by which an operation is over, as an AbortSignal to hand down. Aborts with a TIMEOUT error, or with the
 * parent's reason. Dispose of it when the work is done: a pending timer keeps the process alive.
 */
export class Deadline implements Disposable {
  readonly operation: string;
  readonly timeoutMs: number;
  readonly #clock: Clock;
  readonly #atMs: number;
  /** Made when somebody asks for the signal: most deadlines are only watched. */
  #controller: AbortController | undefined;
  #ended: NabuError | undefined;
  readonly #watchers = new Set<DeadlineWatcher>();
  readonly #timer: Timer;
  readonly #parent: AbortSignal | undefined;
  readonly #onParentAbort = (): void => {
    if (this.#parent !== undefined) this.#abort(abortError(this.#parent, this.operation));
  };

  constructor({ clock, operation, timeoutMs, parent }: DeadlineOptions) {
    this.operation = operation;
    this.timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#parent = parent;
    this.#atMs = clock.monotonicMs() + timeoutMs;
    this.#timer = clock.setTimer(() => this.#abort(NabuError.of('TIMEOUT', { operation, timeoutMs })), timeoutMs);
    if (parent?.aborted) this.#onParentAbort();
    else parent?.addEventListener('abort', this.#onParentAbort, { once: true });
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#ended !== undefined) this.#controller.abort(this.#ended);
    }
    return this.#controller.signal;
  }

  get expired(): boolean {
    return this.#ended !== undefined;
  }

  /** What ended it. */
  get reason(): NabuError | undefined {
    return this.#ended;
  }

  /** The watcher hears of the end, if it is still to come. A fraction of what a listener of the signal costs. */
  watch(watcher: DeadlineWatcher): void {
    if (this.#ended === undefined) this.#watchers.add(watcher);
  }

  unwatch(watcher: DeadlineWatcher): void {
    this.#watchers.delete(watcher);
  }

  /** Never below zero. */
  remainingMs(): number {
    return Math.max(0, this.#atMs - this.#clock.monotonicMs());
  }

  /** Throws what ended the deadline, if it has ended. */
  throwIfExpired(): void {
    if (this.#ended !== undefined) throw this.#ended;
  }

  /** Rejects at the deadline even when the promise never settles. */
  race<T>(promise: Promise<T>): Promise<T> {
    return raceAbort(promise, this.signal, this.operation);
  }

  /** An inner deadline: at most `timeoutMs` from now, never past this one. */
  within(operation: string, timeoutMs: number): Deadline {
    return new Deadline({
      clock: this.#clock,
      operation,
      timeoutMs: Math.min(timeoutMs, this.remainingMs()),
      parent: this.signal,
    });
  }

  #abort(reason: NabuError): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this[Symbol.dispose]();
    this.#controller?.abort(reason);
    for (const watcher of this.#watchers) watcher.deadlineEnded();
    this.#watchers.clear();
  }

  [Symbol.dispose](): void {
    this.#timer.cancel();
    this.#parent?.removeEventListener('abort', this.#onParentAbort);
  }
}

/** Runs work under a deadline of its own and cleans up after it. */
export async function withDeadline<T>(options: DeadlineOptions, work: (deadline: Deadline) => Promise<T>): Promise<T> {
  using deadline = new Deadline(options);
  deadline.throwIfExpired();
  return await deadline.race(work(deadline));
}
