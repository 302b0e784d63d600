export {
  type ConfigDefinition,
  type ConfigOf,
  defineConfig,
  envName,
  flagName,
  type OptionSpec,
  type OptionSpecs,
  option,
  type ReferenceRow,
  referenceRows,
} from './definition.ts';
export { addFlags, configFromCommand } from './flags.ts';
export { type ConfigSources, parseConfig } from './parse.ts';
