import { type Command, Option } from 'commander';
import { type ConfigDefinition, type ConfigOf, type OptionSpecs, referenceRows } from './definition.ts';
import { parseConfig } from './parse.ts';

/** Adds one flag per option, and --config FILE, to a command: its --help is the definition. */
export function addFlags(command: Command, definition: ConfigDefinition): void {
  for (const row of referenceRows(definition)) {
    const value = row.type === 'boolean' ? '[boolean]' : '<value>';
    const notes = `${row.type}, default ${row.fallback}, or ${row.env}`;
    const flag = new Option(`${row.flag} ${value}`, `${row.description} (${notes})`);
    if (row.type === 'boolean') flag.preset('true');
    command.addOption(flag);
  }
  command.option('--config <file>', 'JSON file of these options; flags and variables go before it');
}

/** What addFlags' command was called with, the environment and the file, as one parsed configuration. */
export function configFromCommand<O extends OptionSpecs>(
  command: Command,
  definition: ConfigDefinition<O>,
  env: NodeJS.ProcessEnv = process.env,
): ConfigOf<O> {
  const { config, ...flags } = command.opts<{ config?: string } & Record<string, unknown>>();
  return parseConfig(definition, { flags, env, filePath: config });
}
