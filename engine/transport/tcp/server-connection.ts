import type { OnReadOpts, Socket } from 'node:net';
import { NabuError, toNabuError } from '../../../common/errors/index.ts';
import type { Logger } from '../../../common/logging/index.ts';
import type { Clock } from '../../../common/ports/index.ts';
import { BLOCK_BYTES } from '../../blob/index.ts';
import {
  decodeHello,
  encodeError,
  encodeHello,
  FRAME_KIND,
  type FrameHeader,
  type HelloInfo,
  OP,
  STATUS_ERROR,
  STATUS_OK,
} from '../../protocol/index.ts';
import type { Slab, Slot } from '../../slab/index.ts';
import type { Answer, RequestHandler } from '../transport.ts';
import { FrameSocket, type SocketOwner } from './frame-socket.ts';
import { oversize } from './oversize.ts';
import { ServerCall } from './server-call.ts';
import type { TcpCounters } from './tcp-counters.ts';
import type { TcpLimits } from './tcp-limits.ts';
import { WireDeadline } from './wire-deadline.ts';

const MAX_HELLO_META = 1024;

/** What all connections of one listener share. */
export type ServerContext = {
  readonly slab: Slab;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: TcpLimits;
  readonly handler: RequestHandler;
  readonly hello: HelloInfo;
  readonly counters: TcpCounters;
  /** The connection is gone and its last handler has settled. */
  readonly closed: (connection: ServerConnection) => void;
};

/**
 * The accepting side of a connection. Requests run side by side; over the limits of the connection, or while the slab has
 * no room for a payload, it stops reading, so that the peer's own sending is held back.
 */
export class ServerConnection implements SocketOwner {
  readonly #context: ServerContext;
  readonly #socket: FrameSocket;
  readonly #startedMs: number;
  #peer: HelloInfo | undefined;
  /** By request id; a request is in it until its answer has left. */
  readonly #calls = new Map<number, ServerCall>();
  #bytes = 0;
  /** The request whose header has been read and whose bytes are on their way. */
  #incoming: ServerCall | undefined;
  /** It waits for room among the requests in flight. */
  #waitsForRoom = false;
  #gone = false;
  #ended = false;
  readonly #over = (call: ServerCall): void => this.#finish(call);

  constructor(context: ServerContext, open: (onread: OnReadOpts) => Socket) {
    this.#context = context;
    this.#startedMs = context.clock.monotonicMs();
    this.#socket = new FrameSocket(this, context.slab, open);
  }

  get inFlight(): number {
    return this.#calls.size;
  }

  /** Called every few seconds. */
  check(nowMs: number): void {
    const { limits } = this.#context;
    if (this.#peer === undefined && nowMs - this.#startedMs > limits.handshakeTimeoutMs) {
      this.broken('no hello in time');
    } else if (this.#socket.stalled(nowMs, limits.stallTimeoutMs)) {
      this.broken(`took or sent nothing for ${limits.stallTimeoutMs} ms`);
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  accept(header: FrameHeader): boolean {
    const { reader } = this.#socket;
    if (this.#peer === undefined) {
      if (header.kind !== FRAME_KIND.hello || header.metaLength > MAX_HELLO_META) this.broken('no hello');
      else reader.meta = Buffer.allocUnsafe(header.metaLength);
      return true;
    }
    if (header.kind === FRAME_KIND.cancel) return true;
    if (header.kind !== FRAME_KIND.request || this.#calls.has(header.requestId)) {
      this.broken(header.kind === FRAME_KIND.request ? 'a request id in use' : `kind ${header.kind} from a client`);
      return true;
    }
    const deadline = new WireDeadline(this.#context.clock, header.deadlineMs);
    const call = new ServerCall(header, deadline, this.#peer, this.#over);
    this.#incoming = call;
    if (this.#full(call)) {
      this.#waitsForRoom = true;
      this.#context.counters.holds++;
      return false;
    }
    return this.#admit(call, header);
  }

  frame(header: FrameHeader): void {
    const { meta } = this.#socket.reader;
    if (header.kind === FRAME_KIND.hello) {
      this.#greet(meta);
      return;
    }
    if (header.kind === FRAME_KIND.cancel) {
      this.#calls.get(header.requestId)?.deadline.end(NabuError.of('CANCELLED', { operation: 'a request' }));
      return;
    }
    const call = this.#incoming;
    if (call === undefined) return;
    this.#incoming = undefined;
    call.meta = meta;
    this.#context.counters.requests++;
    this.#context.counters.payloadBytesIn += call.payloadBytes;
    this.#serve(call);
  }

  broken(reason: string): void {
    if (this.#gone || this.#socket.destroyed) return;
    this.#context.counters.broken++;
    this.#context.logger.debug('connection broken off', { remote: this.#socket.remote, reason });
    this.#socket.destroy();
  }

  gone(): void {
    this.#gone = true;
    const reason = NabuError.of('CANCELLED', { operation: 'a request whose connection is gone' });
    for (const call of this.#calls.values()) call.deadline.end(reason);
    const incoming = this.#incoming;
    this.#incoming = undefined;
    if (incoming !== undefined) {
      incoming.deadline.end(reason);
      // Admitted and never handed to the handler: nobody else will let it go.
      if (this.#calls.get(incoming.requestId) === incoming) this.#drop(incoming);
    }
    this.#announceEnd();
  }

  #full(call: ServerCall): boolean {
    const { maxInFlight, maxBytesInFlight } = this.#context.limits;
    if (this.#calls.size === 0) return false;
    return this.#calls.size >= maxInFlight || this.#bytes + call.heldBytes > maxBytesInFlight;
  }

  /** Finds room for the request's bytes. Returns false when that takes a while. */
  #admit(call: ServerCall, header: FrameHeader): boolean {
    this.#calls.set(call.requestId, call);
    this.#bytes += call.heldBytes;
    const { reader } = this.#socket;
    if (call.payloadBytes === 0) {
      if (header.metaLength > 0) reader.meta = Buffer.allocUnsafe(header.metaLength);
      return true;
    }
    const { slab } = this.#context;
    const lengthBytes = roundUp(header.payloadLength) + header.metaLength;
    const slot = slab.waiting === 0 && lengthBytes <= slab.sizeBytes ? slab.tryAlloc(lengthBytes) : undefined;
    if (slot !== undefined) {
      this.#place(call, header, slot);
      return true;
    }
    this.#context.counters.holds++;
    void this.#waitForSlab(call, header, lengthBytes);
    return false;
  }

  async #waitForSlab(call: ServerCall, header: FrameHeader, lengthBytes: number): Promise<void> {
    try {
      const slot = await this.#context.slab.allocWait(lengthBytes, call.deadline);
      if (this.#gone) {
        slot.release();
        return;
      }
      this.#place(call, header, slot);
    } catch (err) {
      if (this.#gone) return;
      const reason = NabuError.is(err) ? err.message : 'the request is larger than the memory for it';
      call.refusal = NabuError.of('RESOURCE_EXHAUSTED', { resource: 'slab memory', reason });
      this.#socket.reader.meta = Buffer.allocUnsafe(header.metaLength);
    }
    this.#socket.proceed();
  }

  /** Payload first, on a block boundary, the meta behind it: both lie where the device can take them from. */
  #place(call: ServerCall, header: FrameHeader, slot: Slot): void {
    const { reader } = this.#socket;
    const { bytes } = slot;
    const metaAt = roundUp(header.payloadLength);
    reader.payload = bytes.subarray(0, header.payloadLength);
    reader.meta = bytes.subarray(metaAt, metaAt + header.metaLength);
    call.payload = { offset: slot.offset, length: header.payloadLength, slot };
  }

  #greet(meta: Buffer): void {
    const { hello, logger, counters } = this.#context;
    let peer: HelloInfo;
    try {
      peer = decodeHello(meta);
    } catch (err) {
      this.broken(NabuError.is(err) ? err.message : 'hello');
      return;
    }
    const refusal = refusalOf(peer, hello);
    const { writer } = this.#socket;
    writer.header.kind = FRAME_KIND.hello;
    writer.header.op = OP.hello;
    writer.header.requestId = 0;
    writer.header.mapEpoch = 0;
    writer.header.deadlineMs = 0;
    writer.header.status = refusal === undefined ? STATUS_OK : STATUS_ERROR;
    if (refusal === undefined) {
      this.#peer = peer;
      writer.send(encodeHello(hello), undefined, undefined, true);
      return;
    }
    counters.refused++;
    logger.warn('peer refused', { remote: this.#socket.remote, label: peer.label, reason: refusal.message });
    writer.send(encodeError(refusal), undefined, undefined, true);
    this.#socket.end();
  }

  #serve(call: ServerCall): void {
    if (call.refusal !== undefined) {
      this.#failed(call, call.refusal);
    } else if (call.deadline.expired) {
      this.#failed(call, NabuError.of('TIMEOUT', { operation: 'a request', timeoutMs: 0 }));
    } else {
      this.#handle(call);
    }
  }

  #handle(call: ServerCall): void {
    let answered: Promise<Answer> | Answer;
    try {
      answered = this.#context.handler(call);
    } catch (err) {
      this.#failed(call, err);
      return;
    }
    if (!(answered instanceof Promise)) {
      this.#served(call, answered);
      return;
    }
    answered.then(
      (answer) => this.#served(call, answer),
      (err: unknown) => this.#failed(call, err),
    );
  }

  #served(call: ServerCall, answer: Answer): void {
    const tooLarge = oversize(answer.meta?.length ?? 0, answer.payload?.length ?? 0);
    if (tooLarge === undefined) {
      this.#settle(call, answer);
    } else {
      answer.payload?.slot.release();
      this.#failed(call, tooLarge);
    }
  }

  #failed(call: ServerCall, err: unknown): void {
    this.#settle(call, { status: STATUS_ERROR, meta: encodeError(toNabuError(err, this.#logForeign)) });
  }

  #settle(call: ServerCall, answer: Answer): void {
    call.releasePayload();
    call.deadline.dispose();
    this.#answer(call, answer);
  }

  readonly #logForeign = (correlationId: string, err: unknown): void => {
    this.#context.logger.error('request failed', { correlationId, err });
  };

  #answer(call: ServerCall, answer: Answer): void {
    const { payload } = answer;
    call.answersFrom(payload?.slot);
    if (this.#gone) {
      call.sent();
      return;
    }
    const { writer } = this.#socket;
    writer.header.kind = FRAME_KIND.response;
    writer.header.op = call.op;
    writer.header.requestId = call.requestId;
    writer.header.status = answer.status ?? STATUS_OK;
    writer.header.mapEpoch = answer.mapEpoch ?? 0;
    writer.header.deadlineMs = 0;
    this.#context.counters.payloadBytesOut += payload?.length ?? 0;
    writer.send(answer.meta, payload, call, this.#calls.size === 1);
  }

  /** Admitted, but its bytes never came in full. */
  #drop(call: ServerCall): void {
    call.releasePayload();
    call.deadline.dispose();
    call.sent();
  }

  /** Gone, and no handler works for it any more. */
  #announceEnd(): void {
    if (this.#ended || this.#calls.size > 0) return;
    this.#ended = true;
    this.#context.closed(this);
  }

  #finish(call: ServerCall): void {
    this.#calls.delete(call.requestId);
    this.#bytes -= call.heldBytes;
    if (this.#gone) this.#announceEnd();
    if (!this.#waitsForRoom || this.#incoming === undefined || this.#gone || this.#full(this.#incoming)) return;
    this.#waitsForRoom = false;
    if (this.#admit(this.#incoming, this.#socket.reader.header)) this.#socket.proceed();
  }
}

function refusalOf(peer: HelloInfo, own: HelloInfo): NabuError | undefined {
  const operation = 'the connection';
  if (peer.clusterId !== own.clusterId) {
    const reason = `this node is of cluster ${own.clusterId}, the peer of ${peer.clusterId}`;
    return NabuError.of('PERMISSION_DENIED', { operation, reason });
  }
  if (peer.nodeId !== '' && peer.nodeId !== own.nodeId) {
    return NabuError.of('PERMISSION_DENIED', { operation, reason: `this is node ${own.nodeId}, not ${peer.nodeId}` });
  }
  return undefined;
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}
