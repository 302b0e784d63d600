import type { z } from 'zod';
import { NabuError } from '../../common/errors/index.ts';
import { CUFILE_KEYS } from './keys.ts';
import type { CufileProblem } from './relations.ts';
import { cufilePartSchema, cufileSchema, keysOf } from './schema.ts';
import { protoPath, valueAt } from './tree.ts';
import { valueText } from './value.ts';
import { type CufileVersion, includesVersion, versionsText } from './version.ts';

const GIVEN_LIMIT_CHARS = 120;

function givenText(value: unknown): string {
  const text = JSON.stringify(value) ?? 'absent';
  return text.length > GIVEN_LIMIT_CHARS ? `${text.slice(0, GIVEN_LIMIT_CHARS)}...` : text;
}

export function invalidValue({ path, given, allowed }: CufileProblem): NabuError {
  return NabuError.of('CUFILE_VALUE_INVALID', { path, given: givenText(given), allowed });
}

/** Edits that turn one text into the other: insert, delete, replace (Levenshtein). */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (let at = 1; at <= from.length; at++) {
    const next = [at];
    for (let other = 1; other <= to.length; other++) {
      const replaced = (row[other - 1] ?? 0) + (from[at - 1] === to[other - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[other] ?? 0) + 1, (next[other - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}

/** The known key that was probably meant: the same name elsewhere, or one of few different letters. */
function nearest(path: string, version: CufileVersion): string | undefined {
  const name = path.slice(path.lastIndexOf('.') + 1);
  let best: { readonly path: string; readonly edits: number } | undefined;
  for (const key of keysOf(version)) {
    const last = key.path.slice(key.path.lastIndexOf('.') + 1);
    const edits = Math.min(distance(path, key.path), distance(name, last) + (last === name ? 1 : 2));
    if (best === undefined || edits < best.edits) best = { path: key.path, edits };
  }
  return best !== undefined && best.edits <= Math.max(2, name.length / 4) ? best.path : undefined;
}

/** The names that may stand under a path: sections and keys. */
function namesUnder(path: string, version: CufileVersion): string[] {
  const prefix = path === '' ? '' : `${path}.`;
  const names = keysOf(version)
    .filter((key) => key.path.startsWith(prefix))
    .map((key) => key.path.slice(prefix.length).split('.')[0] ?? '');
  return [...new Set(names)];
}

export function unknownKey(path: string, parent: string, version: CufileVersion): NabuError {
  const elsewhere = CUFILE_KEYS.filter((key) => key.path === path || key.path.startsWith(`${path}.`));
  const [first] = elsewhere;
  if (first !== undefined && !elsewhere.some((key) => includesVersion(key, version))) {
    return NabuError.of('CUFILE_KEY_VERSION', { path, version, known: versionsText(first) });
  }
  // Keys of mount tables are the mount points, with one key each.
  const inMounts = /^fs\.\w+\.mount_table\./.test(path);
  const allowed = inMounts ? ['rdma_dev_addr_list'] : namesUnder(parent, version);
  const meant = inMounts ? undefined : nearest(path, version);
  const hint = meant === undefined ? '' : ` (${meant} may be meant)`;
  return NabuError.of('CUFILE_KEY_UNKNOWN', { path, hint, allowed });
}

function join(path: readonly PropertyKey[]): string {
  return path.map(String).join('.');
}

function issueError(issue: z.core.$ZodIssue, given: unknown, version: CufileVersion): NabuError {
  const parent = join(issue.path);
  if (issue.code === 'unrecognized_keys') {
    const name = issue.keys[0] ?? '';
    return unknownKey(parent === '' ? name : `${parent}.${name}`, parent, version);
  }
  const key = keysOf(version).find(({ path }) => parent === path || parent.startsWith(`${path}.`));
  if (key !== undefined) {
    return invalidValue({ path: key.path, given: valueAt(given, key.path), allowed: valueText(key.value) });
  }
  const allowed = `an object of ${namesUnder(parent, version).join(', ')}`;
  return invalidValue({
    path: parent === '' ? 'the file' : parent,
    given: parent === '' ? given : valueAt(given, parent),
    allowed,
  });
}

/** Sections know their keys: what is left is a mount point. */
function protoError(path: readonly PropertyKey[], part: unknown, version: CufileVersion): NabuError {
  const whole = join(path);
  const key = keysOf(version).find((one) => whole.startsWith(`${one.path}.`));
  if (key === undefined) return unknownKey(whole, join(path.slice(0, -1)), version);
  return invalidValue({ path: whole, given: valueAt(part, key.path), allowed: valueText(key.value) });
}

/** Unknown names before wrong values: a value under a wrong name says nothing. */
function firstIssue(error: z.ZodError): z.core.$ZodIssue | undefined {
  return error.issues.find(({ code }) => code === 'unrecognized_keys') ?? error.issues[0];
}

/** Throws CUFILE_KEY_UNKNOWN, CUFILE_KEY_VERSION or CUFILE_VALUE_INVALID that names the key and what is allowed. */
export function refuseInvalidPart(part: unknown, version: CufileVersion): void {
  const { error } = cufilePartSchema(version).safeParse(part);
  const issue = error === undefined ? undefined : firstIssue(error);
  if (issue !== undefined) throw issueError(issue, part, version);
  const path = protoPath(part);
  if (path !== undefined) throw protoError(path, part, version);
}

/** The same for a whole file, whose keys must agree as well. */
export function refuseInvalidFile(file: unknown, version: CufileVersion): void {
  refuseInvalidPart(file, version);
  const issue = cufileSchema(version).safeParse(file).error?.issues[0];
  if (issue === undefined) return;
  const path = join(issue.path);
  throw invalidValue({ path, given: valueAt(file, path), allowed: issue.message });
}
