import { Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js';
import { z } from 'zod';
import { type FieldValue, GRPC_CODE, isErrorCode, NabuError } from '../errors/index.ts';

/** Trailing metadata that carries code and fields, so that a NabuError survives the wire whole. */
const ERROR_KEY = 'nabu-error-bin';
const ERROR_LIMIT_BYTES = 4096;

const wireSchema = z.object({
  code: z.string(),
  fields: z.record(
    z.string(),
    z.union([z.string(), z.number(), z.boolean(), z.array(z.union([z.string(), z.number()]))]),
  ),
});

/** The one place where our errors become gRPC's. The integer is always explicit: grpc-js would pass on any `code` it finds. */
export function toGrpcStatus(err: NabuError): Partial<StatusObject> {
  const metadata = new Metadata();
  const { code, fields } = err.toJSON();
  const whole = Buffer.from(JSON.stringify({ code, fields }));
  metadata.set(
    ERROR_KEY,
    whole.length <= ERROR_LIMIT_BYTES ? whole : Buffer.from(JSON.stringify({ code, fields: {} })),
  );
  // grpc-js percent-encodes the text with encodeURI, which throws on a lone surrogate.
  return { code: GRPC_CODE[err.entry.grpc], details: err.message.toWellFormed(), metadata };
}

function revive(metadata: Metadata | undefined, details: string): NabuError | undefined {
  const sent = metadata?.get(ERROR_KEY)[0];
  if (!Buffer.isBuffer(sent) || sent.length > ERROR_LIMIT_BYTES) return undefined;
  try {
    const parsed = wireSchema.parse(JSON.parse(sent.toString()));
    const fields: Readonly<Record<string, FieldValue>> = parsed.fields;
    return isErrorCode(parsed.code) ? NabuError.revive(parsed.code, fields, details) : undefined;
  } catch {
    return undefined; // not from a peer of ours: its status alone must do
  }
}

export type CallName = { readonly target: string; readonly operation: string; readonly timeoutMs: number };

/** What a call failed with, as the peer's own NabuError or as what its status means to us. */
export function fromGrpcError(err: ServiceError, call: CallName): NabuError {
  const own = revive(err.metadata, err.details);
  if (own !== undefined) return own;
  const cause = err;
  switch (err.code) {
    case status.UNAVAILABLE:
      return NabuError.of('UNAVAILABLE', { target: call.target, reason: err.details }, { cause });
    case status.DEADLINE_EXCEEDED:
      return NabuError.of('TIMEOUT', { operation: call.operation, timeoutMs: call.timeoutMs }, { cause });
    case status.CANCELLED:
      return NabuError.of('CANCELLED', { operation: call.operation }, { cause });
    case status.UNIMPLEMENTED:
      return NabuError.of(
        'UNIMPLEMENTED',
        { operation: call.operation, reason: `${call.target} does not know it` },
        { cause },
      );
    case status.RESOURCE_EXHAUSTED:
      return NabuError.of('RESOURCE_EXHAUSTED', { resource: `room in ${call.target}`, reason: err.details }, { cause });
    default:
      return NabuError.of(
        'PROTOCOL_ERROR',
        { peer: call.target, reason: `${call.operation}: ${err.details}` },
        { cause },
      );
  }
}
