import { z } from 'zod';
import { type ConfigOf, defineConfig, option } from '../../common/config/index.ts';
import { DEFAULT_DIR } from '../../common/layout/index.ts';
import { LOG_LEVELS } from '../../common/logging/index.ts';

export const CONTROL_CONFIG = defineConfig('control', {
  dir: option(z.string().min(1), 'where this machine keeps its cluster', DEFAULT_DIR),
  endpoint: option(z.string(), 'where to listen; empty: DIR/run/control.sock', ''),
  listen: option(z.string(), 'a second address, HOST:PORT; empty: none', ''),
  allowRemote: option(
    z.boolean(),
    'let --listen name an address that other machines reach; there is no TLS yet',
    false,
  ),
  defaultPolicy: option(z.string().min(1), 'of volumes whose request names none', 'ec:4+2'),
  logLevel: option(z.enum(LOG_LEVELS), 'what is logged', 'info'),
});

export type ControlConfig = ConfigOf<typeof CONTROL_CONFIG.options>;
