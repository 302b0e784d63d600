import { NabuError } from '../../../common/errors/index.ts';
import type { Clock, Timer } from '../../../common/ports/index.ts';
import type { CallDeadline } from '../transport.ts';

/** The deadline that came with a request. Its signal and timer are made when somebody asks: most requests never do. */
export class WireDeadline implements CallDeadline {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #atMs: number;
  #controller: AbortController | undefined;
  #timer: Timer | undefined;
  #ended: NabuError | undefined;

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

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#ended !== undefined) this.#controller.abort(this.#ended);
      else {
        const options = { background: true };
        this.#timer = this.#clock.setTimer(() => this.end(this.#timeout()), this.remainingMs(), options);
      }
    }
    return this.#controller.signal;
  }

  /** The peer cancelled, or is gone. */
  end(reason: NabuError): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#timer?.cancel();
    this.#controller?.abort(reason);
  }

  /** The request is over: no timer stays behind. */
  dispose(): void {
    this.#timer?.cancel();
  }

  #timeout(): NabuError {
    return NabuError.of('TIMEOUT', { operation: 'a request of a peer', timeoutMs: this.#timeoutMs });
  }
}
