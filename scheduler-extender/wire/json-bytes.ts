import { NabuError } from '../../common/errors/index.ts';

/** Deeper than any object of Kubernetes; a limit, because a body of brackets must not cost more than its bytes. */
const MAX_DEPTH = 256;

export const BYTE = {
  quote: 0x22,
  comma: 0x2c,
  minus: 0x2d,
  zero: 0x30,
  nine: 0x39,
  colon: 0x3a,
  openBracket: 0x5b,
  backslash: 0x5c,
  closeBracket: 0x5d,
  openBrace: 0x7b,
  closeBrace: 0x7d,
} as const;

/** What comes next inside of the value that is being skipped. */
const VALUE = 0;
const VALUE_OR_END = 1;
const KEY = 2;
const KEY_OR_END = 3;
const AFTER = 4;

const LITERALS: ReadonlyMap<number, Uint8Array> = new Map(
  ['true', 'false', 'null'].map((text) => [text.charCodeAt(0), Buffer.from(text)]),
);
const ESCAPES: ReadonlySet<number> = new Set(Buffer.from('"\\/bfnrt'));

/** Which brackets are open, innermost last: 1 for an object. Shared, because one value is skipped at a time. */
const open = new Uint8Array(MAX_DEPTH);

/** What the bytes are not: positions, never the text, which belongs to somebody else. */
export function malformed(at: number): NabuError {
  return NabuError.of('INVALID_ARGUMENT', { field: 'body', reason: `is not JSON at byte ${at}` });
}

export function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from;
  for (let byte = bytes[at]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; byte = bytes[at]) at++;
  return at;
}

function isHex(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}

/** From the opening quote to behind the closing one. Throws INVALID_ARGUMENT. */
export function skipString(bytes: Uint8Array, from: number): number {
  let at = from + 1;
  for (;;) {
    const byte = bytes[at++];
    if (byte === BYTE.quote) return at;
    if (byte === undefined || byte < 0x20) throw malformed(at - 1);
    if (byte !== BYTE.backslash) continue;
    const escaped = bytes[at++];
    if (escaped === 0x75) {
      for (const end = at + 4; at < end; at++) if (!isHex(bytes[at])) throw malformed(at);
    } else if (escaped === undefined || !ESCAPES.has(escaped)) {
      throw malformed(at - 1);
    }
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= BYTE.zero && byte <= BYTE.nine;
}

function skipDigits(bytes: Uint8Array, from: number): number {
  if (!isDigit(bytes[from])) throw malformed(from);
  let at = from + 1;
  while (isDigit(bytes[at])) at++;
  return at;
}

/** RFC 8259, section 6. */
function skipNumber(bytes: Uint8Array, from: number): number {
  let at = bytes[from] === BYTE.minus ? from + 1 : from;
  at = bytes[at] === BYTE.zero ? at + 1 : skipDigits(bytes, at);
  if (bytes[at] === 0x2e) at = skipDigits(bytes, at + 1);
  const exponent = bytes[at];
  if (exponent !== 0x65 && exponent !== 0x45) return at;
  const sign = bytes[at + 1];
  return skipDigits(bytes, sign === 0x2b || sign === BYTE.minus ? at + 2 : at + 1);
}

function skipScalar(bytes: Uint8Array, from: number): number {
  const first = bytes[from];
  if (first === BYTE.minus || isDigit(first)) return skipNumber(bytes, from);
  const literal = first === undefined ? undefined : LITERALS.get(first);
  if (literal === undefined) throw malformed(from);
  for (let at = 0; at < literal.length; at++) if (bytes[from + at] !== literal[at]) throw malformed(from + at);
  return from + literal.length;
}

/** Behind the key's colon. */
function skipKey(bytes: Uint8Array, from: number): number {
  const colon = skipSpace(bytes, skipString(bytes, from));
  if (bytes[colon] !== BYTE.colon) throw malformed(colon);
  return colon + 1;
}

/**
 * From the first byte of a value to behind its last, having checked that it is one (RFC 8259), without making anything of it:
 * a body of 10 MB costs its bytes and no garbage. Accepts exactly what JSON.parse does, up to a depth of 256. Throws INVALID_ARGUMENT.
 */
export function skipValue(bytes: Uint8Array, from: number): number {
  let at = from;
  let depth = 0;
  let next = VALUE;
  for (;;) {
    at = skipSpace(bytes, at);
    const byte = bytes[at];
    if (next === AFTER) {
      const isObject = open[depth - 1] === 1;
      if (byte === BYTE.comma) {
        at++;
        next = isObject ? KEY : VALUE;
        continue;
      }
      if (byte !== (isObject ? BYTE.closeBrace : BYTE.closeBracket)) throw malformed(at);
      at++;
      depth--;
    } else if (next === KEY || next === KEY_OR_END) {
      if (byte === BYTE.quote) {
        at = skipKey(bytes, at);
        next = VALUE;
        continue;
      }
      if (byte !== BYTE.closeBrace || next === KEY) throw malformed(at);
      at++;
      depth--;
    } else if (byte === BYTE.quote) {
      at = skipString(bytes, at);
    } else if (byte === BYTE.openBrace || byte === BYTE.openBracket) {
      if (depth === MAX_DEPTH) throw malformed(at);
      open[depth++] = byte === BYTE.openBrace ? 1 : 0;
      next = byte === BYTE.openBrace ? KEY_OR_END : VALUE_OR_END;
      at++;
      continue;
    } else if (byte === BYTE.closeBracket && next === VALUE_OR_END) {
      at++;
      depth--;
    } else {
      at = skipScalar(bytes, at);
    }
    if (depth === 0) return at;
    next = AFTER;
  }
}

export type Member = {
  /** The first byte of the key's text, behind its quote, and the byte of the closing quote. */
  readonly keyFrom: number;
  readonly keyTo: number;
  /** The first byte of the value. */
  readonly valueFrom: number;
};

/**
 * Calls back for every member of the object that begins at `from`; the callback returns where the member's value ends. Returns
 * behind the object. Throws INVALID_ARGUMENT.
 */
export function eachMember(bytes: Uint8Array, from: number, visit: (member: Member) => number): number {
  if (bytes[from] !== BYTE.openBrace) throw malformed(from);
  let at = skipSpace(bytes, from + 1);
  if (bytes[at] === BYTE.closeBrace) return at + 1;
  for (;;) {
    if (bytes[at] !== BYTE.quote) throw malformed(at);
    const keyFrom = at + 1;
    const keyEnd = skipString(bytes, at);
    const colon = skipSpace(bytes, keyEnd);
    if (bytes[colon] !== BYTE.colon) throw malformed(colon);
    at = skipSpace(bytes, visit({ keyFrom, keyTo: keyEnd - 1, valueFrom: skipSpace(bytes, colon + 1) }));
    const byte = bytes[at];
    if (byte === BYTE.closeBrace) return at + 1;
    if (byte !== BYTE.comma) throw malformed(at);
    at = skipSpace(bytes, at + 1);
  }
}

/** The same for the elements of an array: the callback gets where one begins and returns where it ends. */
export function eachElement(bytes: Uint8Array, from: number, visit: (at: number) => number): number {
  if (bytes[from] !== BYTE.openBracket) throw malformed(from);
  let at = skipSpace(bytes, from + 1);
  if (bytes[at] === BYTE.closeBracket) return at + 1;
  for (;;) {
    at = skipSpace(bytes, visit(at));
    const byte = bytes[at];
    if (byte === BYTE.closeBracket) return at + 1;
    if (byte !== BYTE.comma) throw malformed(at);
    at = skipSpace(bytes, at + 1);
  }
}

/** Whether the bytes [from, to) are the ASCII text. */
export function equalsText(bytes: Uint8Array, from: number, to: number, text: string): boolean {
  if (to - from !== text.length) return false;
  for (let at = 0; at < text.length; at++) if (bytes[from + at] !== text.charCodeAt(at)) return false;
  return true;
}

/** Whether a value is the literal null. */
export function isNull(bytes: Uint8Array, from: number): boolean {
  return bytes[from] === 0x6e;
}
