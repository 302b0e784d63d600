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

const BEFORE_HOST = new Uint8Array(Buffer.from(',{"Host":"'));
const BEFORE_SCORE = new Uint8Array(Buffer.from('","Score":'));
/** With a score of two digits and the brace behind it. */
const MOST_AROUND = BEFORE_HOST.length + BEFORE_SCORE.length + 3;

function writeHosts(candidates: Candidates, scores: Int32Array, bytes: Uint8Array, from: number): number {
  const { body, count, nameFrom, nameTo } = candidates;
  let to = from;
  for (let at = 0; at < count; at++) {
    const score = scores[at] ?? 0;
    if (score === REPEATED) continue;
    for (let read = to === from ? 1 : 0; read < BEFORE_HOST.length; read++) bytes[to++] = BEFORE_HOST[read] ?? 0;
    const end = nameTo[at] ?? 0;
    for (let read = nameFrom[at] ?? 0; read < end; read++) bytes[to++] = body[read] ?? 0;
    for (let read = 0; read < BEFORE_SCORE.length; read++) bytes[to++] = BEFORE_SCORE[read] ?? 0;
    if (score >= 10) bytes[to++] = BYTE.zero + 1;
    bytes[to++] = BYTE.zero + (score % 10);
    bytes[to++] = BYTE.closeBrace;
  }
  return to;
}

/** kube-scheduler extender/v1 HostPriorityList. `scores[i]` is 0 to 10 (MaxExtenderPriority), or REPEATED. */
export function hostPriorities(candidates: Candidates, scores: Int32Array): Buffer {
  const { count, nameFrom, nameTo } = candidates;
  let namesBytes = 0;
  for (let at = 0; at < count; at++) namesBytes += (nameTo[at] ?? 0) - (nameFrom[at] ?? 0);
  writer.reset();
  writer.byte(BYTE.openBracket);
  writer.fill(namesBytes + count * MOST_AROUND, (bytes, at) => writeHosts(candidates, scores, bytes, at));
  writer.byte(BYTE.closeBracket);
  return writer.taken();
}
