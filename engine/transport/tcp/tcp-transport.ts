import { connect as dial, type OnReadOpts, type Socket } from 'node:net';
import { NabuError } from '../../../common/errors/index.ts';
import type { Logger } from '../../../common/logging/index.ts';
import type { Clock, Timer } from '../../../common/ports/index.ts';
import { checkHello, type HelloInfo } from '../../protocol/index.ts';
import type { Slab } from '../../slab/index.ts';
import type { Address, CallDeadline, Connection, Listener, RequestHandler, Transport } from '../transport.ts';
import { ClientConnection } from './client-connection.ts';
import { newTcpCounters, type TcpCounters } from './tcp-counters.ts';
import { DEFAULT_TCP_LIMITS, type TcpLimits } from './tcp-limits.ts';
import { TcpListener } from './tcp-listener.ts';

export type TcpTransportOptions = {
  /** Where payloads come from and go to. */
  readonly slab: Slab;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits?: Partial<TcpLimits>;
};

const CHECK_EVERY_MS = 2_000;
const KEEP_ALIVE_MS = 15_000;

/** Shards over TCP: received in place, sent from where they lie. No TLS yet: whoever reaches the port is trusted. */
export class TcpTransport implements Transport {
  readonly name = 'tcp';
  readonly counters: TcpCounters = newTcpCounters();
  readonly #options: TcpTransportOptions;
  readonly #limits: TcpLimits;
  /** All that must be looked at from time to time. */
  readonly #watched = new Set<{ check(nowMs: number): void }>();
  #timer: Timer | undefined;

  constructor(options: TcpTransportOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_TCP_LIMITS, ...options.limits };
  }

  /** Throws UNAVAILABLE when the address cannot be listened on. */
  async listen(address: Address, handler: RequestHandler, hello: HelloInfo): Promise<Listener> {
    checkHello(hello);
    const { slab, clock, logger } = this.#options;
    const listener = new TcpListener({
      slab,
      clock,
      logger,
      limits: this.#limits,
      handler,
      hello,
      counters: this.counters,
      closed: (closed) => this.#watched.delete(closed),
    });
    await listener.open(address);
    this.#watch(listener);
    return listener;
  }

  async connect(address: Address, hello: HelloInfo, options: { deadline: CallDeadline }): Promise<Connection> {
    checkHello(hello);
    const { host, port } = address;
    if (!Number.isInteger(port) || port < 1 || port > 65535) {
      throw NabuError.of('INVALID_ARGUMENT', { field: 'port', reason: `${port} is not in 1..65535` });
    }
    const open = (onread: OnReadOpts): Socket =>
      dial({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS, onread });
    const connection = new ClientConnection(
      {
        slab: this.#options.slab,
        limits: this.#limits,
        target: `${host}:${port}`,
        hello,
        closed: (closed) => this.#watched.delete(closed),
      },
      open,
    );
    this.#watch(connection);
    await connection.greet(options.deadline);
    return connection;
  }

  #watch(one: { check(nowMs: number): void }): void {
    this.#watched.add(one);
    this.#timer ??= this.#options.clock.setTimer(() => this.#check(), CHECK_EVERY_MS, { background: true });
  }

  #check(): void {
    this.#timer = undefined;
    const nowMs = this.#options.clock.monotonicMs();
    for (const one of this.#watched) one.check(nowMs);
    if (this.#watched.size > 0) {
      this.#timer = this.#options.clock.setTimer(() => this.#check(), CHECK_EVERY_MS, { background: true });
    }
  }
}
