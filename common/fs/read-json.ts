import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import { NabuError } from '../errors/index.ts';

/** The parsed file, or undefined when there is none. Content that the schema refuses is FILE_INVALID, never half taken. */
export async function readJsonFile<S extends z.ZodType>(path: string, schema: S): Promise<z.output<S> | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (err) {
    if (Reflect.get(Object(err), 'code') === 'ENOENT') return undefined;
    throw NabuError.of('FILE_INVALID', { path, reason: 'it cannot be read' }, { cause: err });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (err) {
    throw NabuError.of('FILE_INVALID', { path, reason: 'it is not JSON' }, { cause: err });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? 'the whole' : issue.path.join('.');
  throw NabuError.of(
    'FILE_INVALID',
    { path, reason: `${where}: ${issue?.message ?? 'refused'}` },
    { cause: parsed.error },
  );
}
