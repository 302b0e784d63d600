import { type FieldValue, isErrorCode, NabuError } from '../../common/errors/index.ts';
import { malformed } from './malformed.ts';

/** Status of a frame: everything that is not 0 has the error in its meta. */
export const STATUS_OK = 0;
export const STATUS_ERROR = 1;

const MAX_ERROR_BYTES = 16 * 1024;
const MAX_LIST = 256;
const MAX_TEXT = 512;

type Wire = { readonly code: string; readonly fields: Readonly<Record<string, unknown>> };

/** JSON {code, fields}; 64-bit numbers as {"u64": "123"}, long texts and lists cut. */
export function encodeError(error: NabuError): Buffer {
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(error.fields)) fields[name] = toJson(value);
  const full = Buffer.from(JSON.stringify({ code: error.code, fields }));
  return full.length <= MAX_ERROR_BYTES ? full : Buffer.from(JSON.stringify({ code: error.code, fields: {} }));
}

function toJson(value: FieldValue): unknown {
  if (typeof value === 'bigint') return { u64: value.toString() };
  if (typeof value === 'string') return value.slice(0, MAX_TEXT);
  if (typeof value === 'object') return value.slice(0, MAX_LIST);
  return value;
}

/** What a peer's error was. A code that this release does not know is a PROTOCOL_ERROR that names it. */
export function decodeError(bytes: Uint8Array): NabuError {
  const wire = parse(bytes);
  if (!isErrorCode(wire.code)) return malformed(`answered with the unknown error ${wire.code.slice(0, 64)}`);
  const fields: Record<string, FieldValue> = {};
  for (const [name, value] of Object.entries(wire.fields)) {
    const field = fromJson(value);
    if (field !== undefined) fields[name] = field;
  }
  return NabuError.revive(wire.code, fields);
}

function parse(bytes: Uint8Array): Wire {
  if (bytes.length > MAX_ERROR_BYTES) throw malformed(`an error of ${bytes.length} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch {
    throw malformed('an error that is not JSON');
  }
  if (typeof value === 'object' && value !== null && 'code' in value && 'fields' in value) {
    const { code, fields } = value;
    if (typeof code === 'string' && typeof fields === 'object' && fields !== null) {
      return { code, fields: { ...fields } };
    }
  }
  throw malformed('an error without code and fields');
}

function fromJson(value: unknown): FieldValue | undefined {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  if (Array.isArray(value)) {
    return value.filter((item): item is string | number => typeof item === 'string' || typeof item === 'number');
  }
  if (typeof value === 'object' && value !== null && 'u64' in value) {
    const { u64 } = value;
    if (typeof u64 === 'string' && /^-?\d{1,20}$/.test(u64)) return BigInt(u64);
  }
  return undefined;
}
