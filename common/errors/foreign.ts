import { randomUUID } from 'node:crypto';
import { NabuError } from './nabu-error.ts';

export type ForeignErrorSink = (correlationId: string, err: unknown) => void;

/**
 * Ours pass unchanged. Anything else becomes INTERNAL with a correlation id and goes to the sink (the log) whole:
 * its text may hold paths, secrets or a child's stderr, so none of it reaches a client.
 */
export function toNabuError(err: unknown, sink: ForeignErrorSink): NabuError {
  if (NabuError.is(err)) return err;
  const correlationId = randomUUID();
  sink(correlationId, err);
  return NabuError.of('INTERNAL', { correlationId }, { cause: err });
}
