export {
  EXTENDER_CONFIG,
  type ExtenderConfig,
  hostPort,
  labelsOf,
  listOf,
  RULE_OPTIONS,
  rulesOf,
  tlsOf,
  WATCH_OPTIONS,
} from './extender-config.ts';
