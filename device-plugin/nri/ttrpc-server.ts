import { Deadline } from '../../common/concurrency/index.ts';
import { GRPC_CODE, NabuError } from '../../common/errors/index.ts';
import { decodeMessage, encodeMessage } from '../../common/grpc/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { ttrpc } from '../../proto/gen/messages.js';
import { services } from '../../proto/gen/nri.js';
import type { MuxConnection } from './mux.ts';
import { REQUEST, RESPONSE, TtrpcChannel, type TtrpcMessage } from './ttrpc-channel.ts';

const FRAMES = services['ttrpc.Frames'].call;
/** NRI calls one plugin one call at a time; state changes may overlap. */
const MAX_CALLS = 64;
const NANOS_PER_MS = 1_000_000;

/** The payload of a request to that of its answer. What it throws is answered as a status. */
export type TtrpcHandler = (payload: Uint8Array, deadline: Deadline) => Uint8Array | Promise<Uint8Array>;

export type TtrpcServerOptions = {
  readonly open: (onBytes: (bytes: Buffer) => void) => MuxConnection;
  readonly peer: string;
  readonly clock: Clock;
  /** By '/package.Service/Method'. */
  readonly handlers: ReadonlyMap<string, TtrpcHandler>;
  /** Of calls whose caller states no deadline. */
  readonly timeoutMs: number;
};

/**
 * Answers unary calls of ttrpc, each by its deadline. A caller that breaks the protocol is not answered with a status: the
 * error is thrown to whoever pushes the bytes, and ends the connection. (To NRI a status means that the plugin refuses the
 * container; the loss of its connection, that there is no plugin.)
 */
export class TtrpcServer {
  readonly #options: TtrpcServerOptions;
  readonly #channel: TtrpcChannel;
  readonly #stop = new AbortController();
  #calls = 0;
  #lastStreamId = 0;

  constructor(options: TtrpcServerOptions) {
    this.#options = options;
    this.#channel = new TtrpcChannel(options.open, options.peer, (message) => this.#onMessage(message));
  }

  /** Calls in progress are given up, unanswered. */
  close(): void {
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'the call' }));
  }

  /** Other types than requests belong to streams, of which there are none, or are of later versions: to be ignored. */
  #onMessage({ streamId, type, flags, payload }: TtrpcMessage): void {
    if (type !== REQUEST) return;
    if (streamId % 2 !== 1 || streamId <= this.#lastStreamId) throw this.#broken(`a request of stream ${streamId}`);
    if (flags !== 0) throw this.#broken('a request that opens a stream');
    this.#lastStreamId = streamId;
    let request: ttrpc.Request;
    try {
      request = decodeMessage(FRAMES.request, payload) as ttrpc.Request;
    } catch (cause) {
      throw this.#broken('a request that is none', cause);
    }
    if (this.#calls >= MAX_CALLS) throw this.#broken(`more than ${MAX_CALLS} calls at once`);
    this.#calls++;
    this.#answer(request)
      .then((response) => {
        if (this.#stop.signal.aborted) return;
        const body = encodeMessage(FRAMES.response, response);
        this.#channel.send({ streamId, type: RESPONSE, flags: 0, payload: body });
      })
      .finally(() => this.#calls--);
  }

  /** Never rejects. */
  async #answer({ service, method, payload, timeoutNano }: ttrpc.Request): Promise<object> {
    const { clock, handlers, timeoutMs } = this.#options;
    const path = `/${service}/${method}`;
    const parent = this.#stop.signal;
    const statedMs = Number(timeoutNano) / NANOS_PER_MS;
    using deadline = new Deadline({
      clock,
      operation: path,
      timeoutMs: statedMs > 0 ? Math.min(statedMs, timeoutMs) : timeoutMs,
      parent,
    });
    try {
      const handler = handlers.get(path);
      if (handler === undefined) {
        throw NabuError.of('UNIMPLEMENTED', { operation: path, reason: 'there is no such method' });
      }
      return { status: { code: 0 }, payload: await deadline.race(Promise.resolve(handler(payload, deadline))) };
    } catch (err) {
      if (!NabuError.is(err)) return { status: { code: GRPC_CODE.INTERNAL, message: 'internal error' } };
      return { status: { code: GRPC_CODE[err.entry.grpc], message: err.message } };
    }
  }

  #broken(reason: string, cause?: unknown): NabuError {
    return NabuError.of('PROTOCOL_ERROR', { peer: this.#options.peer, reason }, { cause });
  }
}
