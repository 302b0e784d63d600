import { isUtf8 } from 'node:buffer';
import { NabuError } from '../../common/errors/index.ts';
import { type Candidates, namesAt, nodesAt } from './candidates.ts';
import { BYTE, eachMember, equalsText, isNull, malformed, skipSpace, skipValue } from './json-bytes.ts';

/** What filter and prioritize are asked, kube-scheduler extender/v1 ExtenderArgs. */
export type ExtenderArgs = {
  /** The v1.Pod, not yet looked at. */
  readonly pod: unknown;
  readonly candidates: Candidates;
};

export function parsedSlice(body: Uint8Array, from: number, to: number): unknown {
  return JSON.parse(Buffer.from(body.buffer, body.byteOffset + from, to - from).toString('utf8'));
}

/** The object that is the body; the members are the callback's. Throws INVALID_ARGUMENT. */
export function readBody(body: Uint8Array, visit: Parameters<typeof eachMember>[2]): void {
  if (!isUtf8(body)) throw NabuError.of('INVALID_ARGUMENT', { field: 'body', reason: 'is not UTF-8' });
  const from = skipSpace(body, 0);
  if (body[from] !== BYTE.openBrace)
    throw NabuError.of('INVALID_ARGUMENT', { field: 'body', reason: 'is no JSON object' });
  const end = skipSpace(body, eachMember(body, from, visit));
  if (end !== body.length) throw malformed(end);
}

function isList(body: Uint8Array, from: number, field: string, open: number): boolean {
  if (isNull(body, from)) return false;
  if (body[from] === open) return true;
  throw NabuError.of('INVALID_ARGUMENT', { field, reason: 'is no list of nodes' });
}

/**
 * The body of a filter or prioritize call. Unknown fields are passed over; names of fields are Go's, spelled exactly. Valid until
 * the next call, as the candidates are. Throws INVALID_ARGUMENT that names the field: neither list of nodes is there. A list that
 * is null is one that was not sent; an empty one is empty. Names go before nodes, should both be there.
 */
export function parseExtenderArgs(body: Uint8Array): ExtenderArgs {
  let pod: unknown;
  let candidates: Candidates | undefined;
  readBody(body, ({ keyFrom, keyTo, valueFrom }) => {
    if (equalsText(body, keyFrom, keyTo, 'Pod')) {
      const end = skipValue(body, valueFrom);
      pod = parsedSlice(body, valueFrom, end);
      return end;
    }
    if (equalsText(body, keyFrom, keyTo, 'NodeNames') && isList(body, valueFrom, 'NodeNames', BYTE.openBracket)) {
      const read = namesAt(body, valueFrom);
      candidates = read.candidates;
      return read.end;
    }
    const isNodes = equalsText(body, keyFrom, keyTo, 'Nodes') && candidates?.form !== 'names';
    if (isNodes && isList(body, valueFrom, 'Nodes', BYTE.openBrace)) {
      const read = nodesAt(body, valueFrom);
      candidates = read.candidates;
      return read.end;
    }
    return skipValue(body, valueFrom);
  });
  if (candidates !== undefined) return { pod, candidates };
  throw NabuError.of('INVALID_ARGUMENT', { field: 'NodeNames', reason: 'and Nodes are both missing' });
}
