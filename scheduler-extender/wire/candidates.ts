import { NabuError } from '../../common/errors/index.ts';
import {
  BYTE,
  eachElement,
  eachMember,
  equalsText,
  malformed,
  skipSpace,
  skipString,
  skipValue,
} from './json-bytes.ts';

/** Ten times the largest cluster that Kubernetes promises to bear; a bound on what one body makes us allocate. */
export const MAX_CANDIDATES = 50_000;

/**
 * The nodes that a scheduler asks about, as places in its body: nothing is made of them until something has to be. Each is an
 * item (the bytes to send back, a quoted name or a whole node) and its name.
 */
export type Candidates = {
  readonly form: 'names' | 'nodes';
  readonly body: Uint8Array;
  readonly count: number;
  /** Of candidate i: the bytes [itemFrom[i], itemTo[i]) are the item, [nameFrom[i], nameTo[i]) its name without quotes. */
  readonly itemFrom: Int32Array;
  readonly itemTo: Int32Array;
  readonly nameFrom: Int32Array;
  readonly nameTo: Int32Array;
  /** Of this very list of names, byte for byte: two requests one after the other may have the same. */
  readonly list: number;
};

/** Grown as lists need it and used again: requests are answered one at a time, within one turn of the event loop. */
class Places {
  itemFrom = new Int32Array(1024);
  itemTo = new Int32Array(1024);
  nameFrom = new Int32Array(1024);
  nameTo = new Int32Array(1024);
  count = 0;

  add(itemFrom: number, itemTo: number, nameFrom: number, nameTo: number): void {
    if (this.count === MAX_CANDIDATES) {
      throw NabuError.of('INVALID_ARGUMENT', { field: 'nodes', reason: `are more than ${MAX_CANDIDATES}` });
    }
    if (this.count === this.itemFrom.length) this.#grow();
    const at = this.count++;
    this.itemFrom[at] = itemFrom;
    this.itemTo[at] = itemTo;
    this.nameFrom[at] = nameFrom;
    this.nameTo[at] = nameTo;
  }

  move(by: number): void {
    for (const array of [this.itemFrom, this.itemTo, this.nameFrom, this.nameTo]) {
      for (let at = 0; at < this.count; at++) array[at] = (array[at] ?? 0) + by;
    }
  }

  #grow(): void {
    const larger = (array: Int32Array): Int32Array<ArrayBuffer> => {
      const copy = new Int32Array(array.length * 2);
      copy.set(array);
      return copy;
    };
    this.itemFrom = larger(this.itemFrom);
    this.itemTo = larger(this.itemTo);
    this.nameFrom = larger(this.nameFrom);
    this.nameTo = larger(this.nameTo);
  }
}

const places = new Places();
/** Above this a list is not worth the memory that remembering it takes. */
const REMEMBERED_BYTES = 1 << 20;

/**
 * The list of names that was read last: a scheduler asks for the order of the nodes that it has just asked about, and so what is read for
 * filter is not read again for prioritize.
 */
class LastList {
  number = 0;
  #bytes = Buffer.alloc(0);
  #length = 0;
  #from = 0;

  forget(): void {
    this.#length = 0;
    this.number = (this.number + 1) | 0;
  }

  keep(body: Uint8Array, from: number, to: number): void {
    const length = to - from;
    if (length > REMEMBERED_BYTES) return;
    if (this.#bytes.length < length) this.#bytes = Buffer.allocUnsafeSlow(length * 2);
    this.#bytes.set(body.subarray(from, to));
    this.#length = length;
    this.#from = from;
  }

  /** Where the list ends, should it be the same: `places` are its places then. */
  endIn(body: Uint8Array, from: number): number | undefined {
    const to = from + this.#length;
    if (this.#length === 0 || to > body.length) return undefined;
    if (this.#bytes.compare(body, from, to, 0, this.#length) !== 0) return undefined;
    if (from !== this.#from) places.move(from - this.#from);
    this.#from = from;
    return to;
  }
}

const lastList = new LastList();

function taken(form: Candidates['form'], body: Uint8Array): Candidates {
  const { itemFrom, itemTo, nameFrom, nameTo, count } = places;
  return { form, body, count, itemFrom, itemTo, nameFrom, nameTo, list: lastList.number };
}

/** From the opening quote to behind the closing one: skipString for names, which are short and have no escapes. */
function skipName(body: Uint8Array, from: number): number {
  let at = from + 1;
  let byte = body[at];
  while (byte !== undefined && byte !== BYTE.quote && byte !== BYTE.backslash && byte >= 0x20) byte = body[++at];
  return byte === BYTE.quote ? at + 1 : skipString(body, from);
}

/** The list of names at `from`. Valid until the next call of either reader. Throws INVALID_ARGUMENT. */
export function namesAt(body: Uint8Array, from: number): { candidates: Candidates; end: number } {
  let end = lastList.endIn(body, from);
  if (end === undefined) {
    lastList.forget();
    end = readNames(body, from);
    lastList.keep(body, from, end);
  }
  return { candidates: taken('names', body), end };
}

function readNames(body: Uint8Array, from: number): number {
  places.count = 0;
  let at = skipSpace(body, from + 1);
  if (body[at] === BYTE.closeBracket) return at + 1;
  for (;;) {
    if (body[at] !== BYTE.quote)
      throw NabuError.of('INVALID_ARGUMENT', { field: 'NodeNames', reason: 'are not texts' });
    const to = skipName(body, at);
    places.add(at, to, at + 1, to - 1);
    at = body[to] === BYTE.comma ? to : skipSpace(body, to);
    if (body[at] === BYTE.closeBracket) return at + 1;
    if (body[at] !== BYTE.comma) throw malformed(at);
    at = body[at + 1] === BYTE.quote ? at + 1 : skipSpace(body, at + 1);
  }
}

function nodeAt(body: Uint8Array, from: number): number {
  let nameFrom = -1;
  let nameTo = -1;
  if (body[from] !== BYTE.openBrace)
    throw NabuError.of('INVALID_ARGUMENT', { field: 'Nodes', reason: 'are not objects' });
  const end = eachMember(body, from, ({ keyFrom, keyTo, valueFrom }) => {
    if (!equalsText(body, keyFrom, keyTo, 'metadata') || body[valueFrom] !== BYTE.openBrace) {
      return skipValue(body, valueFrom);
    }
    return eachMember(body, valueFrom, (member) => {
      const isName = equalsText(body, member.keyFrom, member.keyTo, 'name') && body[member.valueFrom] === BYTE.quote;
      const memberEnd = isName ? skipString(body, member.valueFrom) : skipValue(body, member.valueFrom);
      if (isName) {
        nameFrom = member.valueFrom + 1;
        nameTo = memberEnd - 1;
      }
      return memberEnd;
    });
  });
  if (nameFrom < 0) throw NabuError.of('INVALID_ARGUMENT', { field: 'Nodes.items', reason: 'have no metadata.name' });
  places.add(from, end, nameFrom, nameTo);
  return end;
}

/** The items of the v1.NodeList at `from`; null items are an empty list. Valid until the next call. Throws INVALID_ARGUMENT. */
export function nodesAt(body: Uint8Array, from: number): { candidates: Candidates; end: number } {
  lastList.forget();
  places.count = 0;
  const end = eachMember(body, from, ({ keyFrom, keyTo, valueFrom }) => {
    if (!equalsText(body, keyFrom, keyTo, 'items') || body[valueFrom] !== BYTE.openBracket) {
      return skipValue(body, valueFrom);
    }
    places.count = 0; // a repeated key: the last one counts, as for Go and JSON.parse
    return eachElement(body, valueFrom, (at) => nodeAt(body, at));
  });
  return { candidates: taken('nodes', body), end };
}

/** The name as text, whatever escapes it is written with. */
export function candidateName({ body, nameFrom, nameTo }: Candidates, at: number): string {
  const from = nameFrom[at] ?? 0;
  const to = nameTo[at] ?? 0;
  const text = Buffer.from(body.buffer, body.byteOffset + from, to - from).toString('utf8');
  return text.includes('\\') ? String(JSON.parse(`"${text}"`)) : text;
}
