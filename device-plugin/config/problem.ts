import type { z } from 'zod';
import { allowedText, nodeAt } from './schema-node.ts';

const GIVEN_LIMIT_CHARS = 60;

/** 'resources[0].select.vendors[1]'; 'the file' for the whole. */
export function keyPath(path: readonly PropertyKey[]): string {
  const text = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
  return text === '' ? 'the file' : text.replace(/^\./, '');
}

function givenText(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > GIVEN_LIMIT_CHARS ? `${text.slice(0, GIVEN_LIMIT_CHARS)}...` : text;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const key of path) at = typeof at === 'object' && at !== null ? Reflect.get(at, key) : undefined;
  return at;
}

/** One sentence: which key, what is there, what is allowed. */
export function problemOf(issue: z.core.$ZodIssue, value: unknown): string {
  const node = nodeAt(issue.path, value);
  const where = keyPath(issue.path);
  if (issue.code === 'unrecognized_keys') {
    const allowed = Object.keys(node?.properties ?? {}).join(', ');
    const [key = ''] = issue.keys;
    return `${keyPath([...issue.path, key])} is not known; allowed there: ${allowed}`;
  }
  const given = valueAt(value, issue.path);
  const allowed = node === undefined ? undefined : allowedText(node);
  if (given === undefined) return `${where} must be given: ${allowed ?? issue.message}`;
  // A message of a pattern is ours and says more than the schema does.
  const wanted = issue.code === 'invalid_format' ? issue.message : (allowed ?? issue.message);
  const isUnquoted = wanted === 'text' && (typeof given === 'number' || typeof given === 'boolean');
  return `${where} is ${givenText(given)}; allowed: ${wanted}${isUnquoted ? ', in quotes where it looks like a number' : ''}`;
}
