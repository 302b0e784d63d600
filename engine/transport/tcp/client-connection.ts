import type { OnReadOpts, Socket } from 'node:net';
import { abortError } from '../../../common/concurrency/index.ts';
import { NabuError } from '../../../common/errors/index.ts';
import {
  decodeError,
  decodeHello,
  encodeHello,
  FRAME_KIND,
  type FrameHeader,
  type HelloInfo,
  malformed,
  OP,
  STATUS_OK,
} from '../../protocol/index.ts';
import type { Slab } from '../../slab/index.ts';
import type { CallDeadline, Connection, OutgoingRequest, Reply } from '../transport.ts';
import { type CallOwner, ClientCall } from './client-call.ts';
import { FrameSocket, type SocketOwner } from './frame-socket.ts';
import { oversize } from './oversize.ts';
import type { TcpLimits } from './tcp-limits.ts';

const MAX_HELLO_META = 64 * 1024;
const MAX_WIRE_DEADLINE_MS = 24 * 3600 * 1000;

export type ClientContext = {
  readonly slab: Slab;
  readonly limits: TcpLimits;
  /** host:port, for errors. */
  readonly target: string;
  readonly hello: HelloInfo;
  readonly closed: (connection: ClientConnection) => void;
};

/** The dialling side: any number of callers share it, each call has an id and its answer may come in any order. */
export class ClientConnection implements Connection, SocketOwner, CallOwner {
  readonly closed: Promise<Error | undefined>;
  readonly #context: ClientContext;
  readonly #socket: FrameSocket;
  #peer: HelloInfo | undefined;
  #lastId = 0;
  /** Sent and not answered; a call that was given up stays, and counts, until the peer has answered. */
  readonly #pending = new Map<number, ClientCall>();
  #bytes = 0;
  /** In order of arrival; a Set gives both FIFO and O(1) withdrawal. */
  readonly #waiting = new Set<ClientCall>();
  #gone = false;
  #reason: Error | undefined;
  #resolveClosed: (reason: Error | undefined) => void = () => undefined;
  #greeted: { resolve: () => void; reject: (err: Error) => void } | undefined;

  constructor(context: ClientContext, open: (onread: OnReadOpts) => Socket) {
    this.#context = context;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#socket = new FrameSocket(this, context.slab, open);
  }

  get peer(): HelloInfo {
    if (this.#peer === undefined) throw this.#unavailable('no hello yet');
    return this.#peer;
  }

  get inFlight(): number {
    return this.#pending.size;
  }

  /** Says hello and waits for the peer's. The socket may still be connecting. */
  async greet(deadline: CallDeadline): Promise<void> {
    const onAbort = (): void => this.#end(abortError(deadline.signal, `connecting to ${this.#context.target}`));
    deadline.signal.addEventListener('abort', onAbort, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        this.#greeted = { resolve, reject };
        if (deadline.signal.aborted) {
          onAbort();
          return;
        }
        const { writer } = this.#socket;
        writer.header.kind = FRAME_KIND.hello;
        writer.header.op = OP.hello;
        writer.send(encodeHello(this.#context.hello), undefined, undefined, true);
      });
    } finally {
      deadline.signal.removeEventListener('abort', onAbort);
    }
  }

  /** Called every few seconds. */
  check(nowMs: number): void {
    const { stallTimeoutMs } = this.#context.limits;
    if (this.#socket.stalled(nowMs, stallTimeoutMs)) {
      this.#end(this.#unavailable(`took or sent nothing for ${stallTimeoutMs} ms`));
    }
  }

  request(request: OutgoingRequest): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const tooLarge = oversize(request.meta.length, request.payload?.length ?? 0);
      if (tooLarge !== undefined) {
        reject(tooLarge);
        return;
      }
      if (this.#gone) {
        reject(this.#reason ?? this.#unavailable('the connection was closed'));
        return;
      }
      if (request.signal?.aborted === true || request.deadline.expired) {
        const ended = request.signal?.aborted === true ? request.signal : request.deadline.signal;
        reject(abortError(ended, 'a request to a node'));
        return;
      }
      const { maxWaiting } = this.#context.limits;
      const room = this.#waiting.size === 0 && this.#hasRoom(request);
      if (!room && this.#waiting.size >= maxWaiting) {
        reject(NabuError.of('QUEUE_FULL', { queue: `requests to ${this.#context.target}`, limit: maxWaiting }));
        return;
      }
      const call = new ClientCall(this, request, resolve, reject);
      if (room) this.#send(call);
      else this.#waiting.add(call);
    });
  }

  close(): void {
    this.#end(undefined);
  }

  accept(header: FrameHeader): boolean {
    const { reader } = this.#socket;
    if (this.#peer === undefined) {
      if (header.kind !== FRAME_KIND.hello || header.metaLength > MAX_HELLO_META) this.broken('no hello');
      else reader.meta = Buffer.allocUnsafe(header.metaLength);
      return true;
    }
    const call = header.kind === FRAME_KIND.response ? this.#pending.get(header.requestId) : undefined;
    if (call === undefined || call.request.op !== header.op) {
      this.broken(
        header.kind === FRAME_KIND.response ? 'an answer nobody asked for' : `kind ${header.kind} from a node`,
      );
      return true;
    }
    if (header.metaLength > 0) reader.meta = Buffer.allocUnsafe(header.metaLength);
    if (header.payloadLength > 0 && !call.over) reader.payload = this.#receiveInto(call, header.payloadLength);
    return true;
  }

  frame(header: FrameHeader): void {
    const { meta } = this.#socket.reader;
    if (this.#peer === undefined) {
      this.#greetedBy(header.status, meta);
      return;
    }
    const call = this.#pending.get(header.requestId);
    if (call === undefined) return;
    this.#pending.delete(header.requestId);
    this.#bytes -= call.request.payload?.length ?? 0;
    const payload = call.incoming === undefined ? undefined : call.received();
    call.succeed({ status: header.status, meta, payload, mapEpoch: header.mapEpoch });
    if (this.#waiting.size > 0) this.#sendWaiting();
  }

  broken(reason: string): void {
    this.#end(NabuError.of('PROTOCOL_ERROR', { peer: this.#context.target, reason }));
  }

  gone(err: Error | undefined): void {
    this.#end(this.#unavailable(err === undefined ? 'the connection was closed by the peer' : textOf(err), err));
    const reason = this.#reason ?? this.#unavailable('the connection was closed');
    for (const call of this.#pending.values()) call.cut(reason);
    this.#pending.clear();
    this.#resolveClosed(this.#reason);
    this.#context.closed(this);
  }

  givenUp(call: ClientCall): void {
    if (this.#waiting.delete(call)) {
      this.#sendWaiting(); // what stood behind a large request may fit
      return;
    }
    if (this.#gone || !this.#pending.has(call.requestId)) return;
    const { writer } = this.#socket;
    writer.header.kind = FRAME_KIND.cancel;
    writer.header.op = call.request.op;
    writer.header.requestId = call.requestId;
    writer.header.mapEpoch = 0;
    writer.header.deadlineMs = 0;
    writer.send(undefined, undefined, undefined, false);
  }

  #receiveInto(call: ClientCall, payloadLength: number): Uint8Array | undefined {
    const { receive } = call.request;
    const { slab } = this.#context;
    if (receive === undefined) {
      call.fail(malformed('a payload where none belongs'));
      return undefined;
    }
    try {
      const into = receive(payloadLength);
      if (into.length !== payloadLength || into.offset < 0 || into.offset + into.length > slab.sizeBytes) {
        const reason = `${into.length} bytes at ${into.offset} do not fit a payload of ${payloadLength}`;
        throw NabuError.of('INVALID_ARGUMENT', { field: 'receive', reason });
      }
      call.receiving(into);
      return this.#socket.writer.view(into);
    } catch (err) {
      call.fail(err instanceof Error ? err : new Error(String(err)));
      return undefined;
    }
  }

  #hasRoom(request: OutgoingRequest): boolean {
    if (this.#pending.size === 0) return true;
    const { maxInFlight, maxBytesInFlight } = this.#context.limits;
    return this.#pending.size < maxInFlight && this.#bytes + (request.payload?.length ?? 0) <= maxBytesInFlight;
  }

  #send(call: ClientCall): void {
    const { op, meta, payload, deadline, mapEpoch } = call.request;
    call.requestId = ++this.#lastId;
    this.#pending.set(call.requestId, call);
    this.#bytes += payload?.length ?? 0;
    const { writer } = this.#socket;
    writer.header.kind = FRAME_KIND.request;
    writer.header.op = op;
    writer.header.requestId = call.requestId;
    writer.header.status = STATUS_OK;
    writer.header.mapEpoch = mapEpoch;
    writer.header.deadlineMs = Math.min(MAX_WIRE_DEADLINE_MS, Math.max(1, Math.ceil(deadline.remainingMs())));
    if (payload !== undefined) call.sending();
    writer.send(meta, payload, payload === undefined ? undefined : call, this.#pending.size === 1);
  }

  #sendWaiting(): void {
    for (const call of this.#waiting) {
      if (this.#gone || !this.#hasRoom(call.request)) return;
      this.#waiting.delete(call);
      this.#send(call);
    }
  }

  #greetedBy(status: number, meta: Buffer): void {
    try {
      if (status !== STATUS_OK) throw decodeError(meta);
      const { hello } = this.#context;
      const peer = decodeHello(meta);
      if (peer.clusterId !== hello.clusterId || (hello.nodeId !== '' && peer.nodeId !== hello.nodeId)) {
        const reason = `${this.#context.target} is node ${peer.nodeId} of cluster ${peer.clusterId}`;
        throw NabuError.of('PERMISSION_DENIED', { operation: 'the connection', reason });
      }
      this.#peer = peer;
      this.#greeted?.resolve();
    } catch (err) {
      this.#end(err instanceof Error ? err : this.#unavailable(String(err)));
    }
  }

  /** The first reason counts. Calls whose bytes may be in use are settled by `gone`. */
  #end(reason: Error | undefined): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#reason = reason;
    const told = reason ?? this.#unavailable('the connection was closed');
    this.#greeted?.reject(told);
    for (const call of this.#waiting) call.fail(told);
    this.#waiting.clear();
    this.#socket.destroy();
  }

  #unavailable(reason: string, cause?: unknown): NabuError {
    return NabuError.of('UNAVAILABLE', { target: this.#context.target, reason }, { cause });
  }
}

/** ECONNREFUSED, ECONNRESET and the like; the message of a system error would repeat the address. */
function textOf(err: Error): string {
  const code: unknown = Reflect.get(err, 'code');
  return typeof code === 'string' ? code : err.message;
}
