import { raceAbort } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { MessageInit, UnaryOptions } from '../../common/grpc/index.ts';
import type { nabustore } from '../../proto/gen/messages.js';
import { changeError, MAX_CHANGES } from './change-batch.ts';

type Change = MessageInit<nabustore.v1.VolumeChange>;
type Result = nabustore.v1.VolumeChangeResult;
type Send = (
  request: { readonly changes: readonly Change[] },
  options: UnaryOptions,
) => Promise<nabustore.v1.ChangeVolumesResponse>;

type Waiting = {
  readonly change: Change;
  readonly options: UnaryOptions;
  readonly resolve: (result: Result) => void;
  readonly reject: (err: unknown) => void;
};

/** One call is being answered while the next is gathered; it leaves before the first is back only when it is worth it. */
const MAX_CALLS = 2;
const WORTH_A_CALL = 24;
const MAX_WAITING = 16_384;

function timeLeftMs(options: UnaryOptions): number {
  return 'deadline' in options ? options.deadline.remainingMs() : options.timeoutMs;
}

function signalOf(options: UnaryOptions): AbortSignal | undefined {
  return 'deadline' in options ? options.deadline.signal : options.signal;
}

/**
 * Creates and deletes that are asked for while others are on their way travel together. A gRPC call costs far more than what
 * control does for one volume; a lone call is sent within the turn of the event loop.
 */
export class ChangeBatcher {
  readonly #send: Send;
  #waiting: Waiting[] = [];
  #calls = 0;
  #scheduled = false;

  constructor(send: Send) {
    this.#send = send;
  }

  async create(
    create: MessageInit<nabustore.v1.CreateVolumeRequest>,
    options: UnaryOptions,
  ): Promise<nabustore.v1.Volume> {
    const { created } = await this.#add({ create }, options);
    if (created === undefined) throw unanswered();
    return created;
  }

  async remove(
    remove: MessageInit<nabustore.v1.DeleteVolumeRequest>,
    options: UnaryOptions,
  ): Promise<nabustore.v1.DeleteVolumeResponse> {
    const { removed } = await this.#add({ remove }, options);
    if (removed === undefined) throw unanswered();
    return removed;
  }

  #add(change: Change, options: UnaryOptions): Promise<Result> {
    if (this.#waiting.length >= MAX_WAITING) {
      return Promise.reject(NabuError.of('QUEUE_FULL', { queue: 'volume changes', limit: MAX_WAITING }));
    }
    const result = new Promise<Result>((resolve, reject) => {
      this.#waiting.push({ change, options, resolve, reject });
      this.#schedule();
    });
    return raceAbort(result, signalOf(options), 'changing a volume');
  }

  #schedule(): void {
    if (this.#scheduled || this.#calls >= MAX_CALLS) return;
    if (this.#waiting.length < (this.#calls === 0 ? 1 : WORTH_A_CALL)) return;
    this.#scheduled = true;
    // After the I/O of this turn: everything that the sockets brought in it goes along.
    setImmediate(() => {
      this.#scheduled = false;
      void this.#sendNext();
    });
  }

  async #sendNext(): Promise<void> {
    const batch = this.#waiting
      .splice(0, MAX_CHANGES)
      .filter(({ options }) => signalOf(options)?.aborted !== true && timeLeftMs(options) > 0);
    if (batch.length === 0) return;
    this.#calls++;
    this.#schedule();
    try {
      const timeoutMs = Math.max(...batch.map(({ options }) => timeLeftMs(options)));
      const { results } = await this.#send({ changes: batch.map(({ change }) => change) }, { timeoutMs });
      for (const [at, { resolve, reject }] of batch.entries()) {
        const result = results[at];
        if (result === undefined) reject(unanswered());
        else if (result.error !== undefined) reject(changeError(result.error));
        else resolve(result);
      }
    } catch (err) {
      for (const { reject } of batch) reject(err);
    } finally {
      this.#calls--;
      this.#schedule();
    }
  }
}

function unanswered(): NabuError {
  return NabuError.of('PROTOCOL_ERROR', { peer: 'control', reason: 'a change was left without an answer' });
}
