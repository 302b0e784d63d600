import { abortError, Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import type { Slab, Slot } from '../../engine/slab/index.ts';
import {
  type Address,
  type Answer,
  type Connection,
  type HelloInfo,
  type Listener,
  type OutgoingRequest,
  payloadOf,
  type Reply,
  type RequestHandler,
  type Transport,
} from '../../engine/transport/index.ts';

export type SimNetworkOptions = {
  /** Every simulated process shares it. */
  readonly slab: Slab;
  readonly clock: Clock;
  readonly random: Random;
  readonly maxDelayMs: number;
  /** Chance that a message is never delivered and takes its connection with it. */
  readonly lossRate: number;
};

type Endpoint = { readonly handler: RequestHandler; readonly hello: HelloInfo };

/**
 * A network under a seed. Messages are delayed, overtake each other, and are lost together with their connection; over a cut link
 * they are held back and may still arrive when it is whole again, as TCP would have it. Nothing is ever duplicated.
 */
export class SimNetwork {
  readonly #options: SimNetworkOptions;
  readonly #listening = new Map<string, Endpoint>();
  readonly #open = new Set<SimConnection>();
  readonly #cut = new Set<string>();
  readonly #slowMs = new Map<string, number>();
  #whole: (() => void)[] = [];

  constructor(options: SimNetworkOptions) {
    this.#options = options;
  }

  /** The transport of one process: `name` is what cut() and crash() call it. A node's name is its host in addresses. */
  transport(name: string): Transport {
    return {
      name: 'sim',
      listen: async (address, handler, hello) => this.#listen(address, handler, hello),
      connect: async (address, hello, { deadline }) => {
        const endpoint = await this.#reach(name, address, deadline.signal);
        if (hello.nodeId !== '' && endpoint.hello.nodeId !== hello.nodeId) {
          throw NabuError.of('PERMISSION_DENIED', { operation: 'connect', reason: `${address.host} is another node` });
        }
        const connection = new SimConnection(this, this.#options, name, address.host, endpoint);
        this.#open.add(connection);
        return connection;
      },
    };
  }

  cut(a: string, b: string): void {
    this.#cut.add(link(a, b));
  }

  heal(a: string, b: string): void {
    this.#cut.delete(link(a, b));
    this.#release();
  }

  /** Messages between the two take up to this much longer; until healAll(). */
  slow(a: string, b: string, byMs: number): void {
    this.#slowMs.set(link(a, b), byMs);
  }

  healAll(): void {
    this.#cut.clear();
    this.#slowMs.clear();
    this.#release();
  }

  isCut(a: string, b: string): boolean {
    return this.#cut.has(link(a, b));
  }

  /** The process is gone: its listener and its connections. */
  crash(name: string): void {
    this.#listening.delete(name);
    for (const connection of [...this.#open])
      if (connection.from === name || connection.to === name) connection.break();
  }

  forget(connection: SimConnection): void {
    this.#open.delete(connection);
  }

  isListening(name: string, endpoint: Endpoint): boolean {
    return this.#listening.get(name) === endpoint;
  }

  /** The time on the way. False: never arrives. */
  async travel(a: string, b: string): Promise<boolean> {
    const { clock, random, maxDelayMs, lossRate } = this.#options;
    const lost = random.float() < lossRate;
    await clock.sleep(random.float() * (maxDelayMs + (this.#slowMs.get(link(a, b)) ?? 0)));
    while (this.#cut.has(link(a, b))) {
      // Half of what meets a cut link is held back until it is whole, the other half breaks.
      if (lost || random.float() < 0.5) return false;
      await new Promise<void>((resolve) => this.#whole.push(resolve));
      await clock.sleep(random.float() * maxDelayMs);
    }
    return !lost;
  }

  #release(): void {
    for (const resolve of this.#whole.splice(0)) resolve();
  }

  #listen(address: Address, handler: RequestHandler, hello: HelloInfo): Listener {
    const endpoint = { handler, hello };
    this.#listening.set(address.host, endpoint);
    return {
      address,
      connections: 0,
      close: async () => {
        if (this.#listening.get(address.host) === endpoint) this.crash(address.host);
      },
    };
  }

  async #reach(from: string, address: Address, signal: AbortSignal): Promise<Endpoint> {
    await this.#options.clock.sleep(this.#options.random.float() * this.#options.maxDelayMs, signal);
    const endpoint = this.#listening.get(address.host);
    if (endpoint === undefined || this.#cut.has(link(from, address.host))) {
      throw NabuError.of('UNAVAILABLE', { target: address.host, reason: 'nobody answers there' });
    }
    return endpoint;
  }
}

const link = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`);

class SimConnection implements Connection {
  readonly from: string;
  readonly to: string;
  readonly peer: HelloInfo;
  readonly closed: Promise<Error | undefined>;
  readonly #network: SimNetwork;
  readonly #options: SimNetworkOptions;
  readonly #endpoint: Endpoint;
  readonly #broken = new AbortController();
  #resolveClosed: (reason: Error | undefined) => void = () => undefined;

  constructor(network: SimNetwork, options: SimNetworkOptions, from: string, to: string, endpoint: Endpoint) {
    this.#network = network;
    this.#options = options;
    this.from = from;
    this.to = to;
    this.#endpoint = endpoint;
    this.peer = endpoint.hello;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  close(): void {
    this.#end(undefined);
  }

  break(): void {
    this.#end(NabuError.of('UNAVAILABLE', { target: this.to, reason: 'the connection broke' }));
  }

  #end(reason: NabuError | undefined): void {
    if (this.#broken.signal.aborted) return;
    this.#network.forget(this);
    this.#broken.abort(reason ?? NabuError.of('UNAVAILABLE', { target: this.to, reason: 'the connection was closed' }));
    this.#resolveClosed(reason);
  }

  async request(request: OutgoingRequest): Promise<Reply> {
    const given = [request.deadline.signal, this.#broken.signal];
    const signal = AbortSignal.any(request.signal === undefined ? given : [...given, request.signal]);
    if (signal.aborted) throw abortError(signal, 'request');
    const { slab } = this.#options;
    const meta = Buffer.from(request.meta);
    let payload: Slot | undefined;
    if (request.payload !== undefined) {
      payload = slab.alloc(request.payload.length);
      payload.bytes.set(new Uint8Array(slab.buffer, request.payload.offset, request.payload.length));
    }
    const exchange = this.#exchange(request, meta, payload);
    return await new Promise<Reply>((resolve, reject) => {
      const onAbort = (): void => reject(abortError(signal, 'request'));
      signal.addEventListener('abort', onAbort, { once: true });
      exchange
        .then((answer) => {
          // An answer that nobody waits for any more has no place to go.
          if (signal.aborted || answer === undefined) releaseAnswer(answer);
          else resolve(this.#deliver(request, answer));
        })
        .catch(reject)
        .finally(() => signal.removeEventListener('abort', onAbort));
    });
  }

  /** Undefined when the connection broke on the way. */
  async #exchange(request: OutgoingRequest, meta: Buffer, payload: Slot | undefined): Promise<Answer | undefined> {
    try {
      if (!(await this.#network.travel(this.from, this.to)) || !this.#network.isListening(this.to, this.#endpoint)) {
        this.break();
        return undefined;
      }
      using deadline = new Deadline({
        clock: this.#options.clock,
        operation: 'request',
        timeoutMs: Math.max(1, request.deadline.remainingMs()),
      });
      const answer = await this.#endpoint.handler({
        op: request.op,
        meta,
        payload: payload === undefined ? undefined : payloadOf(payload),
        mapEpoch: request.mapEpoch,
        deadline,
        peer: { ...this.#endpoint.hello, nodeId: '', label: this.from },
      });
      const alive = this.#network.isListening(this.to, this.#endpoint);
      if (!alive || !(await this.#network.travel(this.to, this.from))) {
        releaseAnswer(answer);
        this.break();
        return undefined;
      }
      return answer;
    } finally {
      payload?.release();
    }
  }

  #deliver(request: OutgoingRequest, answer: Answer): Reply {
    const { slab } = this.#options;
    try {
      const reply = {
        status: answer.status ?? 0,
        meta: Buffer.from(answer.meta ?? []),
        mapEpoch: answer.mapEpoch ?? 0,
      };
      if (answer.payload === undefined) return reply;
      const room = request.receive?.(answer.payload.length);
      if (room === undefined)
        throw NabuError.of('PROTOCOL_ERROR', { peer: this.to, reason: 'a payload nobody asked for' });
      const bytes = new Uint8Array(answer.payload.memory ?? slab.buffer, answer.payload.offset, answer.payload.length);
      new Uint8Array(slab.buffer, room.offset, room.length).set(bytes);
      return { ...reply, payload: room };
    } finally {
      releaseAnswer(answer);
    }
  }
}

function releaseAnswer(answer: Answer | undefined): void {
  answer?.payload?.slot.release();
}
