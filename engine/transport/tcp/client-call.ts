import { abortError, type DeadlineWatcher } from '../../../common/concurrency/index.ts';
import type { Slot } from '../../slab/index.ts';
import type { OutgoingRequest, PayloadRef, Reply } from '../transport.ts';
import type { Sent } from './frame-writer.ts';

const OPERATION = 'a request to a node';

/** What a call needs of its connection. */
export interface CallOwner {
  /** The caller gave up; the peer should hear of it. */
  givenUp(call: ClientCall): void;
}

/**
 * One request on the client's side. It settles once: with the answer, with the end of its deadline, or with the
 * connection. It settles late (after the bytes have left, or come) when the caller gave bytes without a slot to hold.
 */
export class ClientCall implements Sent, DeadlineWatcher {
  readonly request: OutgoingRequest;
  requestId = 0;
  /** The answer's payload is on its way into this. */
  incoming: PayloadRef | undefined;
  #settled = false;
  /** Its bytes are in the hands of the socket. */
  #sending = false;
  #failure: Error | undefined;
  #held: Slot | undefined;
  readonly #owner: CallOwner;
  readonly #resolve: (reply: Reply) => void;
  readonly #reject: (err: Error) => void;

  constructor(
    owner: CallOwner,
    request: OutgoingRequest,
    resolve: (reply: Reply) => void,
    reject: (err: Error) => void,
  ) {
    this.#owner = owner;
    this.request = request;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#held = request.payload?.slot?.retain();
    request.deadline.watch(this);
    request.signal?.addEventListener('abort', this);
  }

  /** Settled, or about to be: an answer is thrown away. */
  get over(): boolean {
    return this.#settled || this.#failure !== undefined;
  }

  deadlineEnded(): void {
    const { deadline } = this.request;
    this.#giveUp(deadline.reason ?? abortError(deadline.signal, OPERATION));
  }

  /** The signal was aborted. */
  handleEvent(): void {
    const { signal } = this.request;
    if (signal !== undefined) this.#giveUp(abortError(signal, OPERATION));
  }

  #giveUp(reason: Error): void {
    if (this.over) return;
    this.fail(reason);
    this.#owner.givenUp(this);
  }

  sending(): void {
    this.#sending = true;
  }

  sent(): void {
    this.#sending = false;
    this.#letGo();
    this.#settleFailure();
  }

  /** The payload starts to come in; the slot is held until `received`. */
  receiving(into: PayloadRef): void {
    into.slot?.retain();
    this.incoming = into;
  }

  received(): PayloadRef | undefined {
    const into = this.incoming;
    this.incoming = undefined;
    into?.slot?.release();
    this.#settleFailure();
    return into;
  }

  succeed(reply: Reply): void {
    if (this.over) return;
    this.#settle();
    this.#resolve(reply);
  }

  fail(err: Error): void {
    if (this.over) return;
    this.#failure = err;
    if (!this.#sending) this.#letGo();
    this.#settleFailure();
  }

  /** The socket is closed: nobody touches any bytes any more. */
  cut(err: Error): void {
    this.#sending = false;
    if (this.incoming !== undefined) this.received();
    this.fail(err);
  }

  #settleFailure(): void {
    if (this.#failure === undefined || this.#settled) return;
    const { payload } = this.request;
    if (this.#sending && payload !== undefined && payload.slot === undefined) return;
    if (this.incoming !== undefined && this.incoming.slot === undefined) return;
    this.#settle();
    this.#reject(this.#failure);
  }

  #settle(): void {
    this.#settled = true;
    const { deadline, signal } = this.request;
    deadline.unwatch(this);
    signal?.removeEventListener('abort', this);
  }

  #letGo(): void {
    const slot = this.#held;
    this.#held = undefined;
    slot?.release();
  }
}
