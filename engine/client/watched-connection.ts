import { NabuError } from '../../common/errors/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import { type Epoch, epoch } from '../blob/index.ts';
import type { Connection, OutgoingRequest, Reply } from '../transport/index.ts';

export type WatchOptions = {
  readonly clock: Clock;
  /** A node that owes answers and gives none for this long is taken for dead. */
  readonly stallMs: number;
  readonly mapEpoch: () => number;
  readonly newerMap: (epoch: Epoch) => void;
};

/** Length of the second look, as a part of the first. */
const GRACE = 0.25;

/**
 * A connection under watch. A frozen node keeps its socket open, so silence must count as loss; one timer per connection that
 * owes answers sees it, instead of one per request. Replies also tell the node's map epoch.
 */
export class WatchedConnection implements Connection {
  readonly closed: Promise<Error | undefined>;
  readonly #inner: Connection;
  readonly #options: WatchOptions;
  readonly #stalled: { readonly promise: Promise<Error>; readonly resolve: (err: Error) => void };
  #outstanding = 0;
  /** The silence was seen once; the second time counts. */
  #warned = false;
  #progressMs = 0;
  #timer: Timer | undefined;

  constructor(inner: Connection, options: WatchOptions) {
    this.#inner = inner;
    this.#options = options;
    this.#stalled = Promise.withResolvers<Error>();
    this.closed = Promise.race([inner.closed, this.#stalled.promise]);
    inner.closed.then(() => this.#timer?.cancel());
  }

  get peer(): Connection['peer'] {
    return this.#inner.peer;
  }

  request(request: OutgoingRequest): Promise<Reply> {
    if (this.#outstanding++ === 0) this.#progressMs = this.#options.clock.monotonicMs();
    this.#timer ??= this.#arm(this.#options.stallMs);
    return this.#inner.request(request).then(this.#answered, this.#failed);
  }

  close(): void {
    this.#timer?.cancel();
    this.#inner.close();
  }

  readonly #answered = (reply: Reply): Reply => {
    this.#settled();
    if (reply.mapEpoch > this.#options.mapEpoch()) this.#options.newerMap(epoch(reply.mapEpoch));
    return reply;
  };

  readonly #failed = (err: unknown): never => {
    this.#settled();
    throw err;
  };

  #settled(): void {
    this.#outstanding--;
    this.#warned = false;
    this.#progressMs = this.#options.clock.monotonicMs();
  }

  #arm(delayMs: number): Timer {
    return this.#options.clock.setTimer(() => this.#check(), delayMs, { background: true });
  }

  /**
   * Re-arms itself only while answers are owed: an idle connection costs nothing. Silence is believed only when it lasts through a
   * second look: after this process itself stood still, timers run before the answers that lie in the socket are read.
   */
  #check(): void {
    this.#timer = undefined;
    if (this.#outstanding === 0) return;
    const { stallMs, clock } = this.#options;
    const silentMs = clock.monotonicMs() - this.#progressMs;
    if (silentMs < stallMs || !this.#warned) {
      this.#warned = silentMs >= stallMs;
      // Not a fraction of a millisecond: a simulated clock would not move at all.
      this.#timer = this.#arm(this.#warned ? stallMs * GRACE : Math.max(1, stallMs - silentMs));
      return;
    }
    const target = `node ${this.#inner.peer.nodeId}`;
    const reason = `it owes ${this.#outstanding} answers and gave none for ${Math.round(silentMs)} ms`;
    this.#stalled.resolve(NabuError.of('UNAVAILABLE', { target, reason }));
    this.#inner.close();
  }
}
