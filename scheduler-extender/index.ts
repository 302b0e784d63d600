export { EXTENDER_CONFIG, type ExtenderConfig } from './config/index.ts';
export { runExtender } from './main.ts';
