import type { HelloInfo } from '../../protocol/index.ts';
import type { AnswerPayload, IncomingRequest, PayloadRef } from '../transport.ts';
import type { Sent } from './frame-writer.ts';
import type { WireDeadline } from './wire-deadline.ts';

/** One request on the server's side, from its header to the last byte of its answer. */
export class ServerCall implements IncomingRequest, Sent {
  readonly requestId: number;
  readonly op: number;
  readonly mapEpoch: number;
  readonly deadline: WireDeadline;
  readonly peer: HelloInfo;
  readonly payloadBytes: number;
  /** Meta and payload: counted against the connection's bytes until the request is over. */
  readonly heldBytes: number;
  meta: Buffer = EMPTY;
  payload: Required<PayloadRef> | undefined;
  /** There was no memory for it: its bytes were thrown away and it is answered with an error. */
  refusal: Error | undefined;
  #answerSlot: AnswerPayload['slot'] | undefined;
  readonly #over: (call: ServerCall) => void;

  constructor(
    header: { requestId: number; op: number; mapEpoch: number; metaLength: number; payloadLength: number },
    deadline: WireDeadline,
    peer: HelloInfo,
    over: (call: ServerCall) => void,
  ) {
    this.requestId = header.requestId;
    this.op = header.op;
    this.mapEpoch = header.mapEpoch;
    this.payloadBytes = header.payloadLength;
    this.heldBytes = header.metaLength + header.payloadLength;
    this.deadline = deadline;
    this.peer = peer;
    this.#over = over;
  }

  /** The handler has settled: what the request brought is not needed any more. */
  releasePayload(): void {
    const payload = this.payload;
    this.payload = undefined;
    this.meta = EMPTY;
    payload?.slot.release();
  }

  answersFrom(slot: AnswerPayload['slot'] | undefined): void {
    this.#answerSlot = slot;
  }

  sent(): void {
    const slot = this.#answerSlot;
    this.#answerSlot = undefined;
    slot?.release();
    this.#over(this);
  }
}

const EMPTY = Buffer.alloc(0);
