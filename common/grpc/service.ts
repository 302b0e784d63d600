import type { ServiceDefinition } from '@grpc/grpc-js';
import { NabuError } from '../errors/index.ts';
import { type Codec, decodeMessage, encodeMessage } from './message.ts';

export type CallKind = 'unary' | 'server-stream' | 'client-stream' | 'bidi-stream';

/** One call of a generated service (proto/gen/services.js). */
export type CallSpec = {
  readonly kind: CallKind;
  readonly path: string;
  readonly request: Codec;
  readonly response: Codec;
};

/** A generated service: its calls by camel-case name. */
export type ServiceSpec = Readonly<Record<string, CallSpec>>;

/** Request and response type of a generated call, whatever its kind. */
export type RequestOf<C> = C extends { readonly request: { readonly __message?: infer M } } ? NonNullable<M> : never;
export type ResponseOf<C> = C extends { readonly response: { readonly __message?: infer M } } ? NonNullable<M> : never;

/** Stands for a request that could not be decoded until the handler turns it into INVALID_ARGUMENT: grpc-js would say INTERNAL. */
export class UndecodableRequest {
  toError(): NabuError {
    return NabuError.of('INVALID_ARGUMENT', { field: 'request', reason: 'the bytes are not a message of this type' });
  }
}

function decodeOrMark(codec: Codec, bytes: Uint8Array): object {
  try {
    return decodeMessage(codec, bytes);
  } catch {
    return new UndecodableRequest();
  }
}

/** grpc-js's description of a generated service. */
export function serviceDefinition(spec: ServiceSpec): ServiceDefinition {
  return Object.fromEntries(
    Object.entries(spec).map(([name, call]) => [
      name,
      {
        path: call.path,
        originalName: name,
        requestStream: call.kind === 'client-stream' || call.kind === 'bidi-stream',
        responseStream: call.kind === 'server-stream' || call.kind === 'bidi-stream',
        requestSerialize: (plain: object) => encodeMessage(call.request, plain),
        requestDeserialize: (bytes: Buffer) => decodeOrMark(call.request, bytes),
        responseSerialize: (plain: object) => encodeMessage(call.response, plain),
        responseDeserialize: (bytes: Buffer) => decodeMessage(call.response, bytes),
      },
    ]),
  );
}
