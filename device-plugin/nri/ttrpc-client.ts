import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { decodeMessage, encodeMessage, type MessageInit } from '../../common/grpc/index.ts';
import type { ttrpc } from '../../proto/gen/messages.js';
import { services, type Unary } from '../../proto/gen/nri.js';
import type { MuxConnection } from './mux.ts';
import { REQUEST, RESPONSE, TtrpcChannel, type TtrpcMessage } from './ttrpc-channel.ts';

const FRAMES = services['ttrpc.Frames'].call;
/** The highest id that the header holds, odd as those of clients are. */
const LAST_STREAM_ID = 0xffff_ffff;
const NANOS_PER_MS = 1_000_000;

type Pending = { readonly resolve: (payload: Uint8Array) => void; readonly reject: (reason: NabuError) => void };

/** Unary calls of ttrpc. As many at once as its user makes: each has a deadline. */
export class TtrpcClient {
  readonly #peer: string;
  readonly #channel: TtrpcChannel;
  readonly #pending = new Map<number, Pending>();
  #nextStreamId = 1;

  constructor(open: (onBytes: (bytes: Buffer) => void) => MuxConnection, peer: string) {
    this.#peer = peer;
    this.#channel = new TtrpcChannel(open, peer, (message) => this.#onMessage(message));
  }

  /** Throws TIMEOUT, what `fail` is told, or PROTOCOL_ERROR with the status that the peer answered with. */
  async call<Req, Res>(
    { path, request, response }: Unary<Req, Res>,
    message: MessageInit<Req>,
    deadline: Deadline,
  ): Promise<Res> {
    const [, service = '', method = ''] = path.split('/');
    const timeoutNano = BigInt(Math.ceil(deadline.remainingMs())) * BigInt(NANOS_PER_MS);
    const payload = encodeMessage(request, Object(message));
    const streamId = this.#nextStreamId;
    if (streamId > LAST_STREAM_ID) {
      throw NabuError.of('RESOURCE_EXHAUSTED', { resource: 'stream ids', reason: 'the connection has used them up' });
    }
    this.#nextStreamId += 2;
    const answered = new Promise<Uint8Array>((resolve, reject) => this.#pending.set(streamId, { resolve, reject }));
    const body = encodeMessage(FRAMES.request, { service, method, payload, timeoutNano });
    this.#channel.send({ streamId, type: REQUEST, flags: 0, payload: body });
    try {
      return decodeMessage(response, await deadline.race(answered)) as Res;
    } finally {
      this.#pending.delete(streamId);
    }
  }

  /** All calls that wait end so. */
  fail(reason: NabuError): void {
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
  }

  /** An answer that nobody waits for any more is dropped. */
  #onMessage({ streamId, type, payload }: TtrpcMessage): void {
    const pending = this.#pending.get(streamId);
    if (pending === undefined || type !== RESPONSE) return;
    this.#pending.delete(streamId);
    let answer: ttrpc.Response;
    try {
      answer = decodeMessage(FRAMES.response, payload) as ttrpc.Response;
    } catch (cause) {
      pending.reject(NabuError.of('PROTOCOL_ERROR', { peer: this.#peer, reason: 'an answer that is none' }, { cause }));
      return;
    }
    const { status } = answer;
    if (status === null || status.code === 0) {
      pending.resolve(answer.payload);
      return;
    }
    const reason = `it answered with status ${status.code}: ${status.message}`;
    pending.reject(NabuError.of('PROTOCOL_ERROR', { peer: this.#peer, reason }));
  }
}
