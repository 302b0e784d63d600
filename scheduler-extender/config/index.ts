export { EXTENDER_CONFIG, type ExtenderConfig, hostPort, labelsOf, listOf, rulesOf, tlsOf } from './extender-config.ts';
