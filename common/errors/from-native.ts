import { isErrorCode, NabuError } from './nabu-error.ts';
import type { FieldValue } from './registry.ts';

/**
 * What an addon threw (native/binding/typed_error.h: `code` of the registry, `fields`) as a NabuError. Anything else is
 * returned as it is, to be thrown on.
 */
export function fromNative(err: unknown): unknown {
  if (!(err instanceof Error) || NabuError.is(err)) return err;
  const code: unknown = Reflect.get(err, 'code');
  const fields: unknown = Reflect.get(err, 'fields');
  if (typeof code !== 'string' || !isErrorCode(code) || typeof fields !== 'object' || fields === null) return err;
  return NabuError.revive(code, fields as Readonly<Record<string, FieldValue>>);
}
