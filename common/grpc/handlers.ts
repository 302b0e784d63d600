import type {
  handleServerStreamingCall,
  handleUnaryCall,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { Deadline, raceAbort } from '../concurrency/index.ts';
import { NabuError, toNabuError } from '../errors/index.ts';
import type { Logger } from '../logging/index.ts';
import type { Clock } from '../ports/index.ts';
import { checkAuthority } from './authority.ts';
import type { MessageInit } from './message.ts';
import { type CallSpec, type RequestOf, type ResponseOf, type ServiceSpec, UndecodableRequest } from './service.ts';
import { toGrpcStatus } from './status.ts';

export type CallContext = {
  /** The caller's deadline or the server's own limit, whichever is sooner; aborts as well when the caller goes away. */
  readonly deadline: Deadline;
  readonly signal: AbortSignal;
};

export type StreamContext = {
  /** Aborts when the caller goes away or the server shuts down. */
  readonly signal: AbortSignal;
};

/** Implementations by call name; a call left out answers UNIMPLEMENTED. Errors are thrown, as NabuError. */
export type Handlers<S extends ServiceSpec> = {
  readonly [N in keyof S]?: S[N] extends { readonly kind: 'unary' }
    ? (request: RequestOf<S[N]>, context: CallContext) => Promise<MessageInit<ResponseOf<S[N]>>>
    : S[N] extends { readonly kind: 'server-stream' }
      ? (request: RequestOf<S[N]>, context: StreamContext) => AsyncIterable<MessageInit<ResponseOf<S[N]>>>
      : never;
};

export type HandlerEnvironment = {
  readonly clock: Clock;
  readonly logger: Logger;
  /** The longest a unary call may take, also when its caller names no deadline. */
  readonly maxCallMs: number;
  /** Aborts when the server shuts down: ends streams. */
  readonly closing: AbortSignal;
};

type Unary = (request: object, context: CallContext) => Promise<object>;
type Streaming = (request: object, context: StreamContext) => AsyncIterable<object>;

function failure(err: unknown, call: CallSpec, environment: HandlerEnvironment): ReturnType<typeof toGrpcStatus> {
  const known = toNabuError(err, (correlationId, foreign) =>
    environment.logger.error('call failed unexpectedly', { call: call.path, correlationId, error: foreign }),
  );
  if (environment.logger.isEnabled('debug')) {
    environment.logger.debug('call refused', { call: call.path, code: known.code, reason: known.message });
  }
  return toGrpcStatus(known);
}

/** The client's deadline as what is left of it. */
function timeLeftMs(call: ServerUnaryCall<object, object>, environment: HandlerEnvironment): number {
  const deadline = call.getDeadline();
  const untilMs = deadline instanceof Date ? deadline.getTime() : deadline;
  return Math.min(environment.maxCallMs, Math.max(0, untilMs - Date.now()));
}

function adaptUnary(spec: CallSpec, handler: Unary, environment: HandlerEnvironment): handleUnaryCall<object, object> {
  return (call, answer) => {
    const gone = new AbortController();
    let isAnswered = false;
    call.once('cancelled', () => {
      // grpc-js says so at the end of every call, answered or not.
      if (!isAnswered) gone.abort(NabuError.of('CANCELLED', { operation: spec.path }));
    });
    const run = async (): Promise<object> => {
      checkAuthority(call.getHost());
      if (call.request instanceof UndecodableRequest) throw call.request.toError();
      using deadline = new Deadline({
        clock: environment.clock,
        operation: spec.path,
        timeoutMs: timeLeftMs(call, environment),
        parent: gone.signal,
      });
      return await handler(call.request, { deadline, signal: deadline.signal });
    };
    const settle = (error: ReturnType<typeof failure> | null, response?: object): void => {
      isAnswered = true;
      answer(error, response);
    };
    run().then(
      (response) => settle(null, response),
      (err: unknown) => settle(failure(err, spec, environment)),
    );
  };
}

function written(stream: ServerWritableStream<object, object>, message: object): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(message, (err: Error | null | undefined) => {
      if (err) reject(err);
      else resolve();
    });
  });
}

async function pump(
  stream: ServerWritableStream<object, object>,
  messages: AsyncIterable<object>,
  signal: AbortSignal,
): Promise<void> {
  for await (const message of messages) {
    if (signal.aborted) return;
    // One message at a time: what a slow reader has no room for yet stays with the producer, who may come to know better.
    await raceAbort(written(stream, message), signal, 'a stream');
  }
}

function adaptStream(
  spec: CallSpec,
  handler: Streaming,
  environment: HandlerEnvironment,
): handleServerStreamingCall<object, object> {
  return (stream) => {
    const gone = new AbortController();
    stream.once('cancelled', () => gone.abort(NabuError.of('CANCELLED', { operation: spec.path })));
    const signal = AbortSignal.any([gone.signal, environment.closing]);
    const run = async (): Promise<void> => {
      checkAuthority(stream.getHost());
      if (stream.request instanceof UndecodableRequest) throw stream.request.toError();
      await pump(stream, handler(stream.request, { signal }), signal);
    };
    run().then(
      () => stream.end(),
      (err: unknown) => {
        if (signal.aborted) stream.end();
        else stream.emit('error', failure(err, spec, environment));
      },
    );
  };
}

/** Typed handlers as grpc-js wants them. The only place where a handler's error meets the wire. */
export function adaptHandlers<S extends ServiceSpec>(
  service: S,
  handlers: Handlers<S>,
  environment: HandlerEnvironment,
): UntypedServiceImplementation {
  const adapted: UntypedServiceImplementation = {};
  for (const [name, spec] of Object.entries(service)) {
    const handler: unknown = handlers[name];
    if (typeof handler !== 'function') continue;
    if (spec.kind === 'unary') adapted[name] = adaptUnary(spec, handler.bind(handlers) as Unary, environment);
    else if (spec.kind === 'server-stream')
      adapted[name] = adaptStream(spec, handler.bind(handlers) as Streaming, environment);
    else throw NabuError.of('UNIMPLEMENTED', { operation: spec.path, reason: `${spec.kind} calls have no adapter` });
  }
  return adapted;
}
