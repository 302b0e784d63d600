import { z } from 'zod';
import { HYSTERESIS } from '../health/index.ts';
import { resourceConfigSchema } from './resource-config.ts';

/** More than the sockets, the CDI specs and the reader of the file would bear. */
const RESOURCE_LIMIT = 64;

const healthSchema = z.strictObject({
  recoverMs: z
    .int()
    .min(0)
    .max(600_000)
    .default(HYSTERESIS.recoverMs)
    .describe('How long nothing may be wrong with a device until it counts as healthy again, in milliseconds.'),
  maxRecoverMs: z
    .int()
    .min(0)
    .max(3_600_000)
    .default(HYSTERESIS.maxRecoverMs)
    .describe('With each failure that follows soon that time doubles, up to this, in milliseconds.'),
  calmMs: z
    .int()
    .min(0)
    .max(86_400_000)
    .default(HYSTERESIS.calmMs)
    .describe('Healthy for so long, a device is trusted as one that never failed, in milliseconds.'),
});

/** The configuration file, whole: what this node offers, and as what. Parsed strictly: an unknown key is refused. */
export const pluginConfigSchema = z.strictObject({
  version: z.literal('v1').describe('The format of this file.'),
  health: healthSchema.prefault({}).describe('When a device that was unhealthy is healthy again.'),
  resources: z
    .array(resourceConfigSchema)
    .max(RESOURCE_LIMIT)
    .describe('The resources; a device belongs to the first that selects it.'),
});

export type PluginConfig = z.output<typeof pluginConfigSchema>;
export type HealthConfig = PluginConfig['health'];
