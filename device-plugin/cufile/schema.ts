import { z } from 'zod';
import type { CufileKey } from './key.ts';
import { CUFILE_KEYS } from './keys.ts';
import { relationProblem } from './relations.ts';
import { valueSchema } from './value.ts';
import { CUFILE_VERSIONS, type CufileVersion, includesVersion } from './version.ts';

type Shape = { [name: string]: Shape | CufileKey };

function isKey(node: Shape | CufileKey): node is CufileKey {
  return typeof node.path === 'string';
}

function insert(shape: Shape, [name = '', ...rest]: readonly string[], key: CufileKey): void {
  if (rest.length === 0) {
    shape[name] = key;
    return;
  }
  const section = shape[name] ?? {};
  if (isKey(section)) throw new TypeError(`${key.path} lies under the key ${section.path}`);
  shape[name] = section;
  insert(section, rest, key);
}

export function keysOf(version: CufileVersion): CufileKey[] {
  return CUFILE_KEYS.filter((key) => includesVersion(key, version));
}

function objectSchema(shape: Shape): z.ZodType {
  return z.strictObject(
    Object.fromEntries(
      Object.entries(shape).map(([name, node]) => [
        name,
        (isKey(node) ? valueSchema(node.value) : objectSchema(node)).optional(),
      ]),
    ),
  );
}

function partSchemaOf(version: CufileVersion): z.ZodType {
  const shape: Shape = {};
  for (const key of keysOf(version)) insert(shape, key.path.split('.'), key);
  return objectSchema(shape);
}

/** Made when a release is asked for: each takes half a megabyte, and a node has containers of one or two. */
const partSchemas = new Map<CufileVersion, z.ZodType>();

/** Any part of a file: each key known to that release and in its range, none required. */
export function cufilePartSchema(version: CufileVersion): z.ZodType {
  if (!CUFILE_VERSIONS.includes(version)) throw new TypeError(`cuFile ${version} has no schema`);
  const schema = partSchemas.get(version) ?? partSchemaOf(version);
  partSchemas.set(version, schema);
  return schema;
}

/** A whole file: its keys agree with one another as well. cuFile itself requires none, and ignores what it does not know. */
export function cufileSchema(version: CufileVersion): z.ZodType {
  return cufilePartSchema(version).superRefine((file, context) => {
    const problem = relationProblem(file);
    if (problem !== undefined) {
      context.addIssue({ code: 'custom', path: problem.path.split('.'), message: problem.allowed });
    }
  });
}
