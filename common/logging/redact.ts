const SECRET_NAME = /secret|password|passphrase|token$|credential|private.?key|authorization/i;
const DEPTH_LIMIT = 6;

/** A copy in which the value of every field named like a secret is replaced, however deep it lies. */
export function redact(value: unknown, depth = 0): unknown {
  if (value === null || typeof value !== 'object' || value instanceof Error) return value;
  if (ArrayBuffer.isView(value)) return `<${value.byteLength} bytes>`;
  if (depth >= DEPTH_LIMIT) return '<nested too deep>';
  if (Array.isArray(value)) return value.map((item) => redact(item, depth + 1));
  if (value instanceof Map) return redact(Object.fromEntries(value), depth + 1);
  if (value instanceof Set) return redact([...value], depth + 1);
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      name,
      SECRET_NAME.test(name) ? '<redacted>' : redact(field, depth + 1),
    ]),
  );
}
