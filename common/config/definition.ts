import { z } from 'zod';

export type OptionSpec<S extends z.ZodType = z.ZodType> = {
  readonly schema: S;
  /** One line for --help and the reference. */
  readonly description: string;
  /** Taken when no source names the option; without one the option must be given. */
  readonly fallback?: z.input<S>;
};

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;
export type ConfigOf<O extends OptionSpecs> = { readonly [N in keyof O]: z.output<O[N]['schema']> };

/** All options of one binary: the single source of parsing, --help and docs/reference. */
export type ConfigDefinition<O extends OptionSpecs = OptionSpecs> = {
  /** E.g. `stor`; its variables begin with NABU_STOR_. */
  readonly binary: string;
  readonly options: O;
};

/** Keeps the type of an option's schema and fallback together. */
export function option<S extends z.ZodType>(schema: S, description: string, fallback?: z.input<S>): OptionSpec<S> {
  return fallback === undefined ? { schema, description } : { schema, description, fallback };
}

export function defineConfig<const O extends OptionSpecs>(binary: string, options: O): ConfigDefinition<O> {
  return { binary, options };
}

/** `maxCallMs` -> `--max-call-ms`. */
export function flagName(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

export function envPrefix(definition: ConfigDefinition): string {
  return `NABU_${definition.binary.replaceAll('-', '_').toUpperCase()}_`;
}

/** `maxCallMs` of `stor` -> `NABU_STOR_MAX_CALL_MS`. */
export function envName(definition: ConfigDefinition, name: string): string {
  return envPrefix(definition) + name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

export type ReferenceRow = {
  readonly name: string;
  readonly flag: string;
  readonly env: string;
  readonly type: string;
  readonly fallback: string;
  readonly description: string;
};

const jsonTypeSchema = z.object({
  type: z.string().optional(),
  enum: z.array(z.unknown()).optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
});

function typeText(schema: z.ZodType): string {
  const json = jsonTypeSchema.parse(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }));
  if (json.enum !== undefined) return json.enum.join(' | ');
  const limit = Number.MAX_SAFE_INTEGER;
  const from = json.minimum !== undefined && json.minimum > -limit ? ` from ${json.minimum}` : '';
  const to = json.maximum !== undefined && json.maximum < limit ? ` to ${json.maximum}` : '';
  return `${json.type ?? 'value'}${from}${to}`;
}

/** One row per option, in the order of their definition. */
export function referenceRows(definition: ConfigDefinition): ReferenceRow[] {
  return Object.entries(definition.options).map(([name, spec]) => ({
    name,
    flag: flagName(name),
    env: envName(definition, name),
    type: typeText(spec.schema),
    fallback: spec.fallback === undefined ? 'required' : String(spec.fallback),
    description: spec.description,
  }));
}
