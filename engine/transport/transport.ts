import type { DeadlineWatcher } from '../../common/concurrency/index.ts';
import type { NabuError } from '../../common/errors/index.ts';
import type { HelloInfo } from '../protocol/index.ts';
import type { Slot } from '../slab/index.ts';

export type Address = { readonly host: string; readonly port: number };

/** What a wait needs of a deadline; `Deadline` of common/concurrency is one. */
export interface CallDeadline {
  readonly signal: AbortSignal;
  readonly expired: boolean;
  /** What ended it. */
  readonly reason: NabuError | undefined;
  /** Tells the watcher of the end, if it is still to come, once. */
  watch(watcher: DeadlineWatcher): void;
  unwatch(watcher: DeadlineWatcher): void;
  /** Never below zero. */
  remainingMs(): number;
}

/**
 * Bytes of the slab, by offset from its start. Give the slot that holds them: the transport then retains it for as long
 * as it touches the bytes, and the caller may release it at any time. Without one, the caller keeps the bytes in place
 * until the request settles, and a request that is given up while its bytes are on the way settles only when they have
 * left or the connection is gone.
 */
export type PayloadRef = { readonly offset: number; readonly length: number; readonly slot?: Slot };

export function payloadOf(slot: Slot, from = 0, length: number = slot.lengthBytes - from): Required<PayloadRef> {
  return { offset: slot.offset + from, length, slot };
}

export type OutgoingRequest = {
  readonly op: number;
  /** Untouched by the caller until the request settles. */
  readonly meta: Uint8Array;
  readonly payload?: PayloadRef | undefined;
  readonly deadline: CallDeadline;
  readonly signal?: AbortSignal | undefined;
  /** The sender's cluster map; 0: none. */
  readonly mapEpoch: number;
  /** Where to put an answer's payload. Without it an answer with a payload is a PROTOCOL_ERROR. May throw: then the request fails with that. */
  readonly receive?: ((payloadLength: number) => PayloadRef) | undefined;
};

export type Reply = {
  /** 0, or an error whose description is the meta (`decodeError`). */
  readonly status: number;
  /** The receiver's own: never written again. */
  readonly meta: Buffer;
  /** What `receive` returned. */
  readonly payload?: PayloadRef | undefined;
  /** Of the node that answered; 0: none. */
  readonly mapEpoch: number;
};

/**
 * One connection to one peer, many requests at once. `request` rejects with TIMEOUT, CANCELLED, UNAVAILABLE (the connection is
 * closed or closes before the answer: whether the peer acted is not known), QUEUE_FULL or PROTOCOL_ERROR. An error status
 * of the peer is a Reply, not a rejection.
 */
export interface Connection {
  request(request: OutgoingRequest): Promise<Reply>;
  /** Pending requests reject with UNAVAILABLE. */
  close(): void;
  /** Resolves with the reason, or undefined after `close()`. Never rejects. */
  readonly closed: Promise<Error | undefined>;
  readonly peer: HelloInfo;
}

export type IncomingRequest = {
  readonly op: number;
  /** Valid until the handler settles; lies in the slab when there is a payload. */
  readonly meta: Buffer;
  /** Held by the transport until the handler settles. Starts on a 4 KiB boundary. */
  readonly payload?: Required<PayloadRef> | undefined;
  readonly mapEpoch: number;
  /** Ends also when the peer cancels or its connection is gone. */
  readonly deadline: CallDeadline;
  readonly peer: HelloInfo;
};

/** Bytes to send: of the slab, or of other memory that `offset` then counts in. */
export type AnswerPayload = {
  readonly memory?: ArrayBuffer;
  readonly offset: number;
  readonly length: number;
  readonly slot: { release(): void };
};

export type Answer = {
  /** Default 0. */
  readonly status?: number;
  /** Not written again before it has left; may lie in the payload's slot. */
  readonly meta?: Uint8Array;
  /** Becomes the transport's, which releases it when the bytes have left. */
  readonly payload?: AnswerPayload | undefined;
  /** Default 0. Filled in last, when all else is known. */
  mapEpoch?: number;
};

/**
 * Answers at once or later. Never rejects in ordinary operation; a rejection is answered as the NabuError it is, or as
 * INTERNAL.
 */
export type RequestHandler = (request: IncomingRequest) => Promise<Answer> | Answer;

export interface Listener {
  /** With the port that was chosen for port 0. */
  readonly address: Address;
  /** Open connections. */
  readonly connections: number;
  /** Accepts no more, closes all connections, waits for handlers in flight. */
  close(): Promise<void>;
}

/** DESIGN section 6. Drivers: tcp; a simulated one in test/sim. */
export interface Transport {
  readonly name: string;
  /** `hello` is read anew for every peer and may be a live object. */
  listen(address: Address, handler: RequestHandler, hello: HelloInfo): Promise<Listener>;
  /** UNAVAILABLE, TIMEOUT, PERMISSION_DENIED (another cluster or another node than `hello` names), PROTOCOL_ERROR. */
  connect(address: Address, hello: HelloInfo, options: { readonly deadline: CallDeadline }): Promise<Connection>;
}
