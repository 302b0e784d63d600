import { NabuError } from '../../common/errors/index.ts';

/** An object of the API as it came: nothing of it is believed before it was looked at. */
export type Json = Readonly<Record<string, unknown>>;

const NOTHING: Json = Object.freeze({});

export function objectOf(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : NOTHING;
}

/** The member that is an object, else an empty one: what is null or missing says nothing. */
export function objectAt(value: Json, key: string): Json {
  return Object.hasOwn(value, key) ? objectOf(value[key]) : NOTHING;
}

export function listAt(value: Json, key: string): readonly unknown[] {
  const list = Object.hasOwn(value, key) ? value[key] : undefined;
  return Array.isArray(list) ? list : [];
}

export function textAt(value: Json, key: string): string {
  const text = Object.hasOwn(value, key) ? value[key] : undefined;
  return typeof text === 'string' ? text : '';
}

/** Undefined where it is no finite number. */
export function numberAt(value: Json, key: string): number | undefined {
  const number = Object.hasOwn(value, key) ? value[key] : undefined;
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined;
}

/** The texts of a map such as labels. */
export function textsOf(value: Json): [string, string][] {
  return Object.entries(value).flatMap(([key, text]) => (typeof text === 'string' ? [[key, text]] : []));
}

/** A text that has to be there. Throws INVALID_ARGUMENT. */
export function requiredText(value: Json, key: string, field: string): string {
  const text = textAt(value, key);
  if (text !== '') return text;
  throw NabuError.of('INVALID_ARGUMENT', { field, reason: 'is missing' });
}

export function metadataOf(object: Json, kind: string): { readonly meta: Json; readonly name: string } {
  const meta = objectAt(object, 'metadata');
  return { meta, name: requiredText(meta, 'name', `${kind}.metadata.name`) };
}
