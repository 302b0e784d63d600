import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { NabuError } from '../errors/index.ts';
import { type ConfigDefinition, type ConfigOf, envName, envPrefix, flagName, type OptionSpecs } from './definition.ts';

export type ConfigSources = {
  /** By option name; undefined values count as not given. */
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** A JSON object of option names. */
  readonly filePath?: string | undefined;
};

type Given = { readonly value: unknown; readonly source: string; readonly isText: boolean };

function invalid(source: string, reason: string): NabuError {
  return NabuError.of('CONFIG_INVALID', { source, reason });
}

function refuseUnknown(names: readonly string[], allowed: readonly string[], source: string): void {
  const unknown = names.filter((name) => !allowed.includes(name));
  if (unknown.length > 0) throw invalid(source, `unknown ${unknown.join(', ')}; allowed: ${allowed.join(', ')}`);
}

function readFile(path: string, allowed: readonly string[]): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (err) {
    throw NabuError.of('CONFIG_INVALID', { source: path, reason: 'it cannot be read as JSON' }, { cause: err });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(path, 'it is not a JSON object');
  refuseUnknown(Object.keys(value), allowed, path);
  return { ...value };
}

/** Text from a flag or a variable is taken as it is where the schema allows, else as JSON: `8` for an integer, `true`. */
function parseValue(given: Given, schema: z.ZodType): z.ZodSafeParseResult<unknown> {
  const direct = schema.safeParse(given.value);
  if (direct.success || !given.isText || typeof given.value !== 'string') return direct;
  try {
    return schema.safeParse(JSON.parse(given.value));
  } catch {
    return direct; // no JSON either: the schema's own complaint says it best
  }
}

/** Flags > environment > file > fallbacks. Throws CONFIG_INVALID that names the source, the option and what is allowed. */
export function parseConfig<O extends OptionSpecs>(
  definition: ConfigDefinition<O>,
  sources: ConfigSources,
): ConfigOf<O> {
  const { flags = {}, env = {}, filePath } = sources;
  const names = Object.keys(definition.options);
  const prefix = envPrefix(definition);
  refuseUnknown(Object.keys(flags), names, 'flags');
  const variables = names.map((name) => envName(definition, name));
  refuseUnknown(
    Object.keys(env).filter((name) => name.startsWith(prefix)),
    variables,
    'environment',
  );
  const file = filePath === undefined ? {} : readFile(filePath, names);

  const find = (name: string): Given | undefined => {
    if (flags[name] !== undefined) return { value: flags[name], source: flagName(name), isText: true };
    const variable = envName(definition, name);
    if (env[variable] !== undefined) return { value: env[variable], source: variable, isText: true };
    if (file[name] !== undefined) return { value: file[name], source: `${filePath}: ${name}`, isText: false };
    return undefined;
  };
  const parsed = Object.entries(definition.options).map(([name, spec]) => {
    const given = find(name) ?? { value: spec.fallback, source: name, isText: false };
    if (given.value === undefined) {
      throw invalid(name, `it must be given: ${flagName(name)} or ${envName(definition, name)} (${spec.description})`);
    }
    const result = parseValue(given, spec.schema);
    if (!result.success) throw invalid(given.source, result.error.issues[0]?.message ?? 'refused');
    return [name, result.data];
  });
  return Object.fromEntries(parsed);
}
