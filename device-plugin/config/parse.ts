import { LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { NabuError } from '../../common/errors/index.ts';
import { protoPath } from '../cufile/index.ts';
import { contradictionIn } from './contradictions.ts';
import { type PluginConfig, pluginConfigSchema } from './plugin-config.ts';
import { keyPath, problemOf } from './problem.ts';

/** Aliases can make a small file large ("billion laughs"); this file needs none. */
const MAX_ALIASES = 0;

/**
 * The text of a configuration file, YAML 1.2 (which JSON is). Throws CONFIG_INVALID that names the source, the key and what
 * is allowed there; of several mistakes the first.
 */
export function parsePluginConfig(text: string, source: string): PluginConfig {
  const value = readYaml(text, source);
  const { data, error } = pluginConfigSchema.safeParse(value);
  if (error !== undefined) throw invalid(source, problemOf(first(error), value));
  const contradiction = contradictionIn(data);
  if (contradiction !== undefined) throw invalid(source, contradiction);
  const unnameable = protoPath(value);
  if (unnameable !== undefined) throw invalid(source, `${keyPath(unnameable)} is not known`);
  return data;
}

export function invalid(source: string, reason: string, cause?: unknown): NabuError {
  return NabuError.of('CONFIG_INVALID', { source, reason }, cause === undefined ? undefined : { cause });
}

function readYaml(text: string, source: string): unknown {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, uniqueKeys: true, prettyErrors: false });
  const [error] = [...document.errors, ...document.warnings];
  if (error !== undefined) {
    const { line, col } = lineCounter.linePos(error.pos[0]);
    throw invalid(source, `line ${line}, column ${col}: ${error.message}`);
  }
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (err) {
    throw invalid(source, 'it uses aliases, which this file does not take', err);
  }
}

/** Unknown keys first: a key that is missing is often one that is misspelt. */
function first(error: z.ZodError): z.core.$ZodIssue {
  const issue = error.issues.find(({ code }) => code === 'unrecognized_keys') ?? error.issues[0];
  if (issue === undefined) throw new RangeError('an error without an issue');
  return issue;
}
