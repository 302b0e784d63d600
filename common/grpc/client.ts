import {
  Client,
  connectivityState,
  credentials,
  type CallOptions as GrpcCallOptions,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { abortError, type Deadline } from '../concurrency/index.ts';
import { NabuError } from '../errors/index.ts';
import { formatAddress, grpcTarget, type SocketAddress } from './address.ts';
import { decodeMessage, encodeMessage, type MessageInit } from './message.ts';
import type { CallSpec, RequestOf, ResponseOf, ServiceSpec } from './service.ts';
import { type CallName, fromGrpcError } from './status.ts';

/** Every unary call has a deadline: there is no default that could be forgotten. */
export type UnaryOptions =
  | { readonly deadline: Deadline }
  | { readonly timeoutMs: number; readonly signal?: AbortSignal };
export type StreamOptions = { readonly signal: AbortSignal };

export type ClientOf<S extends ServiceSpec> = {
  readonly [N in keyof S]: S[N] extends { readonly kind: 'unary' }
    ? (request: MessageInit<RequestOf<S[N]>>, options: UnaryOptions) => Promise<ResponseOf<S[N]>>
    : S[N] extends { readonly kind: 'server-stream' }
      ? (request: MessageInit<RequestOf<S[N]>>, options: StreamOptions) => AsyncIterable<ResponseOf<S[N]>>
      : never;
};

export type GrpcClientOptions = {
  readonly address: SocketAddress;
  readonly maxMessageBytes?: number;
  /** The longest pause between two attempts to connect. */
  readonly maxReconnectMs?: number;
};

const DEFAULT_MESSAGE_BYTES = 4 << 20;
const DEFAULT_RECONNECT_MS = 1000;

const CHANNEL_OPTIONS = {
  // A path is no authority: some servers refuse it.
  'grpc.default_authority': 'localhost',
  'grpc.enable_http_proxy': 0,
  'grpc.enable_channelz': 0,
  // A shared pool would share back-off too; and peers here come back within a second.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.service_config_disable_resolution': 1,
} as const;

/** One connection to one peer; `service` gives typed calls over it. Connects at the first call and again after a loss. */
export class GrpcClient {
  readonly #client: Client;
  readonly #target: string;

  constructor({ address, maxMessageBytes, maxReconnectMs }: GrpcClientOptions) {
    const limitBytes = maxMessageBytes ?? DEFAULT_MESSAGE_BYTES;
    this.#target = formatAddress(address);
    this.#client = new Client(grpcTarget(address), credentials.createInsecure(), {
      ...CHANNEL_OPTIONS,
      'grpc.max_reconnect_backoff_ms': maxReconnectMs ?? DEFAULT_RECONNECT_MS,
      'grpc.max_receive_message_length': limitBytes,
      'grpc.max_send_message_length': limitBytes,
    });
  }

  service<S extends ServiceSpec>(spec: S): ClientOf<S> {
    const calls = Object.entries(spec).map(([name, call]) => [name, this.#caller(call)]);
    return Object.fromEntries(calls) as ClientOf<S>;
  }

  /** Resolves when the peer answers; UNAVAILABLE at the timeout. */
  waitForReady(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.waitForReady(Date.now() + timeoutMs, (err) => {
        if (err === undefined) resolve();
        else reject(NabuError.of('UNAVAILABLE', { target: this.#target, reason: `no answer within ${timeoutMs} ms` }));
      });
    });
  }

  /**
   * Whether it could not connect and is about to try again. One more attempt follows even when it is closed now, and
   * grpc-js lets a connection that comes of that stay open.
   */
  get isFailing(): boolean {
    return this.#client.getChannel().getConnectivityState(false) === connectivityState.TRANSIENT_FAILURE;
  }

  close(): void {
    this.#client.close();
  }

  #caller(call: CallSpec): unknown {
    switch (call.kind) {
      case 'unary':
        return (request: object, options: UnaryOptions) => this.#unary(call, request, options);
      case 'server-stream':
        return (request: object, options: StreamOptions) => this.#stream(call, request, options);
      default:
        return () => {
          throw NabuError.of('UNIMPLEMENTED', { operation: call.path, reason: `${call.kind} calls have no adapter` });
        };
    }
  }

  #unary(call: CallSpec, request: object, options: UnaryOptions): Promise<object> {
    const timeoutMs = 'deadline' in options ? options.deadline.remainingMs() : options.timeoutMs;
    const signal = 'deadline' in options ? options.deadline.signal : options.signal;
    const name: CallName = { target: this.#target, operation: call.path, timeoutMs };
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(abortError(signal, call.path));
        return;
      }
      const onAbort = (): void => pending.cancel();
      const grpcOptions: GrpcCallOptions = { deadline: Date.now() + timeoutMs };
      const pending = this.#client.makeUnaryRequest(
        call.path,
        (plain: object) => encodeMessage(call.request, plain),
        (bytes: Buffer) => decodeMessage(call.response, bytes),
        request,
        new Metadata(),
        grpcOptions,
        (err: ServiceError | null, response?: object) => {
          signal?.removeEventListener('abort', onAbort);
          if (err === null && response !== undefined) resolve(response);
          else if (signal?.aborted) reject(abortError(signal, call.path));
          else if (err !== null) reject(fromGrpcError(err, name));
          else reject(NabuError.of('PROTOCOL_ERROR', { peer: this.#target, reason: 'an answer without a message' }));
        },
      );
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  async *#stream(call: CallSpec, request: object, { signal }: StreamOptions): AsyncGenerator<object> {
    if (signal.aborted) throw abortError(signal, call.path);
    const stream = this.#client.makeServerStreamRequest(
      call.path,
      (plain: object) => encodeMessage(call.request, plain),
      (bytes: Buffer) => decodeMessage(call.response, bytes),
      request,
    );
    const onAbort = (): void => stream.cancel();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for await (const message of stream) yield message;
    } catch (err) {
      if (signal.aborted) throw abortError(signal, call.path);
      throw fromGrpcError(err as ServiceError, { target: this.#target, operation: call.path, timeoutMs: 0 });
    } finally {
      signal.removeEventListener('abort', onAbort);
      stream.cancel();
    }
  }
}
