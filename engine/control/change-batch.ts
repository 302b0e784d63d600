import { z } from 'zod';
import { type FieldValue, isErrorCode, NabuError } from '../../common/errors/index.ts';
import type { MessageInit } from '../../common/grpc/index.ts';
import type { nabustore } from '../../proto/gen/messages.js';

/** Of one ChangeVolumes call. */
export const MAX_CHANGES = 256;

type Result = MessageInit<nabustore.v1.VolumeChangeResult>;

export type ChangeHandlers = {
  create(request: nabustore.v1.CreateVolumeRequest): Promise<MessageInit<nabustore.v1.Volume>>;
  remove(request: nabustore.v1.DeleteVolumeRequest): Promise<{ readonly existed: boolean }>;
};

/** All at once, so that they share transactions. A NabuError is the answer to its own change; anything else fails the call. */
export async function runChanges(
  changes: readonly nabustore.v1.VolumeChange[],
  handlers: ChangeHandlers,
): Promise<Result[]> {
  if (changes.length > MAX_CHANGES) {
    const reason = `has ${changes.length} changes, at most ${MAX_CHANGES} are taken`;
    throw NabuError.of('INVALID_ARGUMENT', { field: 'changes', reason });
  }
  return await Promise.all(changes.map((change) => runChange(change, handlers)));
}

async function runChange(change: nabustore.v1.VolumeChange, handlers: ChangeHandlers): Promise<Result> {
  try {
    if (change.create !== undefined) return { created: await handlers.create(change.create) };
    if (change.remove !== undefined) return { removed: await handlers.remove(change.remove) };
    throw NabuError.of('INVALID_ARGUMENT', { field: 'changes', reason: 'one is neither create nor remove' });
  } catch (err) {
    if (!NabuError.is(err)) throw err;
    const { code, message, fields } = err.toJSON();
    return { error: { code, message, fields: JSON.stringify(fields) } };
  }
}

const fieldsSchema = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean(), z.array(z.union([z.string(), z.number()]))]),
);

/** The error that a change was answered with, as it was thrown in control. */
export function changeError({ code, message, fields }: nabustore.v1.VolumeChangeError): NabuError {
  if (!isErrorCode(code)) {
    return NabuError.of('PROTOCOL_ERROR', { peer: 'control', reason: 'it answered with an error of an unknown code' });
  }
  const parsed: Readonly<Record<string, FieldValue>> = fieldsSchema.parse(JSON.parse(fields));
  return NabuError.revive(code, parsed, message);
}
