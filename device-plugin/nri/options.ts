import { z } from 'zod';
import { type ConfigOf, defineConfig, option } from '../../common/config/index.ts';
import { LOG_LEVELS } from '../../common/logging/index.ts';

const absolute = z.string().regex(/^\//, 'an absolute path');
/** Less than a page cannot be locked, and RLIM_INFINITY has a word of its own. */
const memlock = z.union([z.literal('unlimited'), z.int().min(4096)]);

export const NRI_OPTIONS = defineConfig('nri', {
  socket: option(absolute, "the container runtime's NRI socket", '/var/run/nri/nri.sock'),
  kubeletDir: option(absolute, "the kubelet's folder: pod-resources is below it", '/var/lib/kubelet'),
  procRoot: option(absolute, 'procfs in which the container runtime is to be seen, if it is', '/proc'),
  memlock: option(
    memlock,
    'locked memory that containers with our devices may have: unlimited, or a number of bytes',
    'unlimited',
  ),
  name: option(z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/), 'name of the plugin in the runtime', 'nabustore'),
  index: option(
    z.string().regex(/^[0-9]{2}$/, 'two digits'),
    'plugins are called in the order of their indexes; late, it sees limits that others have set',
    '90',
  ),
  logLevel: option(z.enum(LOG_LEVELS), 'what is logged', 'info'),
});

export type NriOptions = ConfigOf<typeof NRI_OPTIONS.options>;
