import { PASSED, type Refusal } from '../filter/index.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Candidates } from './candidates.ts';
import { BYTE } from './json-bytes.ts';

/** Candidate i repeats an earlier one and is answered once. */
export const REPEATED = -2;

export type FilterAnswer = {
  readonly candidates: Candidates;
  /** Of candidate i: PASSED, REPEATED, or the index of its refusal. */
  readonly verdicts: Int32Array;
  readonly refusals: readonly Refusal[];
};

const writer = new ByteWriter();
/** Above this a copy of a run pays for its call. */
const LONG_BYTES = 256;

/** The items that passed, runs of neighbours copied at once with the commas and spaces between them. */
function writePassed({ candidates, verdicts }: FilterAnswer): void {
  const { body, count, itemFrom, itemTo } = candidates;
  let isFirst = true;
  for (let at = 0; at < count; ) {
    if (verdicts[at] !== PASSED) {
      at++;
      continue;
    }
    const from = itemFrom[at] ?? 0;
    let to = itemTo[at] ?? 0;
    for (at++; at < count && verdicts[at] === PASSED; at++) to = itemTo[at] ?? 0;
    if (!isFirst) writer.byte(BYTE.comma);
    isFirst = false;
    if (to - from > LONG_BYTES) writer.long(body, from, to);
    else writer.short(body, from, to);
  }
}

function writeRefused({ candidates, verdicts }: FilterAnswer, chosen: readonly (Buffer | undefined)[]): void {
  const { body, count, nameFrom, nameTo } = candidates;
  let isFirst = true;
  for (let at = 0; at < count; at++) {
    const verdict = verdicts[at] ?? PASSED;
    const reason = verdict < 0 ? undefined : chosen[verdict];
    if (reason === undefined) continue;
    if (!isFirst) writer.byte(BYTE.comma);
    isFirst = false;
    writer.byte(BYTE.quote);
    writer.short(body, nameFrom[at] ?? 0, nameTo[at] ?? 0);
    writer.ascii('":');
    writer.short(reason, 0, reason.length);
  }
}

/**
 * kube-scheduler extender/v1 ExtenderFilterResult, in the form that was asked. The list of what passed is never null: for the
 * scheduler that would be a refusal of every node.
 */
export function filterResult(answer: FilterAnswer): Buffer {
  const { candidates, refusals } = answer;
  const quoted = (wanted: boolean): (Buffer | undefined)[] =>
    refusals.map(({ reason, resolvable }) => (resolvable === wanted ? Buffer.from(JSON.stringify(reason)) : undefined));
  writer.reset();
  writer.ascii(candidates.form === 'names' ? '{"NodeNames":[' : '{"Nodes":{"metadata":{},"items":[');
  writePassed(answer);
  writer.ascii(candidates.form === 'names' ? '],"FailedNodes":{' : ']},"FailedNodes":{');
  writeRefused(answer, quoted(true));
  writer.ascii('},"FailedAndUnresolvableNodes":{');
  writeRefused(answer, quoted(false));
  writer.ascii('},"Error":""}');
  return writer.taken();
}

/** The same with an error: the scheduler tells it to people as an event of the pod, and tries again later. */
export function filterError(message: string): string {
  return JSON.stringify({ Error: message });
}

/** Four characters as one store: what stands around each of 5,000 names costs as much as the names otherwise. */
const word = (text: string): number => Buffer.from(text).readUInt32LE(0);
const half = (text: string): number => Buffer.from(text).readUInt16LE(0);
const BEFORE_HOST = [word(',{"H'), word('ost"'), half(':"')] as const;
const BEFORE_SCORE = [word('","S'), word('core'), half('":')] as const;
const AROUND_BYTES = 10;
/** With a score of two digits and the brace behind it. */
const MOST_AROUND = 2 * AROUND_BYTES + 3;

function writeHosts(
  candidates: Candidates,
  scores: Int32Array,
  least: number,
  bytes: Uint8Array,
  words: DataView,
  from: number,
): number {
  const { body, count, nameFrom, nameTo } = candidates;
  const [host0, host1, host2] = BEFORE_HOST;
  const [score0, score1, score2] = BEFORE_SCORE;
  const source = new DataView(body.buffer, body.byteOffset, body.length);
  let to = from;
  for (let at = 0; at < count; at++) {
    const score = (scores[at] ?? 0) - least;
    if (score <= 0) continue;
    words.setUint32(to, host0, true);
    words.setUint32(to + 4, host1, true);
    words.setUint16(to + 8, host2, true);
    to += AROUND_BYTES;
    const read = nameFrom[at] ?? 0;
    const length = (nameTo[at] ?? 0) - read;
    // Up to three bytes more than the name: behind it there are a quote and two brackets at least, and here what comes next lies over them.
    for (let by = 0; by < length; by += 4) words.setUint32(to + by, source.getUint32(read + by, true), true);
    to += length;
    words.setUint32(to, score0, true);
    words.setUint32(to + 4, score1, true);
    words.setUint16(to + 8, score2, true);
    to += AROUND_BYTES;
    if (score >= 10) bytes[to++] = BYTE.zero + 1;
    bytes[to++] = BYTE.zero + (score % 10);
    bytes[to++] = BYTE.closeBrace;
  }
  if (to > from) bytes[from] = BYTE.openBracket; // in place of the first comma
  return to;
}

/** What every candidate has. */
function leastOf(scores: Int32Array, count: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let at = 0; at < count; at++) {
    const score = scores[at] ?? REPEATED;
    if (score !== REPEATED && score < least) least = score;
  }
  return least;
}

/**
 * kube-scheduler extender/v1 HostPriorityList. `scores[i]` is 0 to 10 (MaxExtenderPriority), or REPEATED. What changes no order is left
 * out, so that nobody writes, sends and reads it: what all candidates have is taken off each, and a scheduler adds 0 where none is said
 * (prioritizeNodes).
 */
export function hostPriorities(candidates: Candidates, scores: Int32Array): Buffer {
  const { count, nameFrom, nameTo } = candidates;
  const least = leastOf(scores, count);
  let namesBytes = 0;
  for (let at = 0; at < count; at++) namesBytes += (nameTo[at] ?? 0) - (nameFrom[at] ?? 0);
  writer.reset();
  writer.fill(namesBytes + count * MOST_AROUND, (bytes, words, at) => {
    return writeHosts(candidates, scores, least, bytes, words, at);
  });
  if (writer.length === 0) writer.byte(BYTE.openBracket);
  writer.byte(BYTE.closeBracket);
  return writer.taken();
}
