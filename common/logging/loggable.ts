import { NabuError } from '../errors/index.ts';

const SECRET_NAME = /secret|password|passphrase|token$|credential|private.?key|authorization/i;
const DEPTH_LIMIT = 6;

/** Unlike toJSON, which is for clients, this shows causes and stacks; a NabuError's own stack says little. */
function describeError(err: Error, depth: number): Record<string, unknown> {
  const code: unknown = Reflect.get(err, 'code');
  return {
    name: err.name,
    message: err.message,
    ...(code === undefined ? {} : { code: String(code) }),
    ...(NabuError.is(err) ? { fields: loggable(err.fields, depth + 1) } : { stack: err.stack }),
    ...(err.cause === undefined ? {} : { cause: loggable(err.cause, depth + 1) }),
  };
}

/**
 * A copy made of what JSON can hold, in which the value of every field named like a secret is replaced, however deep it
 * lies. Bytes become their count.
 */
export function loggable(value: unknown, depth = 0): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (value === null || typeof value !== 'object') return value;
  if (depth >= DEPTH_LIMIT) return '<nested too deep>';
  if (ArrayBuffer.isView(value)) return `<${value.byteLength} bytes>`;
  if (value instanceof Error) return describeError(value, depth);
  if (value instanceof Date) return value;
  if (Array.isArray(value)) return value.map((item) => loggable(item, depth + 1));
  if (value instanceof Map) return loggable(Object.fromEntries(value), depth + 1);
  if (value instanceof Set) return loggable([...value], depth + 1);
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      name,
      SECRET_NAME.test(name) ? '<redacted>' : loggable(field, depth + 1),
    ]),
  );
}
