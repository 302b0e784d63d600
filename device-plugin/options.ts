import { hostname } from 'node:os';
import { z } from 'zod';
import { type ConfigOf, defineConfig, option } from '../common/config/index.ts';
import { LOG_LEVELS } from '../common/logging/index.ts';

const folder = z.string().regex(/^\//, 'an absolute path');
const folderOrEmpty = z.string().regex(/^(\/|$)/, 'an absolute path, or empty');

export const DEVICE_PLUGIN_OPTIONS = defineConfig('device-plugin', {
  resources: option(
    z.string().min(1),
    'file of the resources, followed while the plugin runs; docs/reference/device-plugin-config.md',
    '/etc/nabustore/device-plugin.yaml',
  ),
  sysfsRoot: option(folder, 'where the sysfs of the machine is', '/sys'),
  devRoot: option(folder, 'where its device files are', '/dev'),
  containerDevRoot: option(folder, 'the same folder as the container runtime finds it on the host', '/dev'),
  procRoot: option(folder, 'where its procfs is', '/proc'),
  kubeletDir: option(
    folder,
    "the kubelet's folder: device-plugins, pod-resources and plugins are below it",
    '/var/lib/kubelet',
  ),
  stateDir: option(folder, 'what outlives the process', '/var/lib/nabustore/device-plugin'),
  stateDirInHost: option(folderOrEmpty, 'the same folder on the host; empty: the same path', ''),
  cdiDir: option(folder, 'where the container runtime reads CDI specs', '/var/run/cdi'),
  udevDirInHost: option(folder, "the host's udev database", '/run/udev'),
  metrics: option(
    z.string(),
    'where figures, /healthz and /readyz are served, such as 0.0.0.0:9477; empty: nowhere',
    '',
  ),
  nodeName: option(z.string(), 'name of this node in Kubernetes; empty: the host name', ''),
  kubeconfig: option(
    folderOrEmpty,
    'where the API server is, for claims; empty: as the pod that this process is in',
    '',
  ),
  featuresDir: option(folderOrEmpty, 'where node-feature-discovery reads labels from files; empty: no labels', ''),
  pollMs: option(
    z.int().min(100).max(60_000),
    'how often is looked at what the kernel tells no event of, in milliseconds',
    1000,
  ),
  logLevel: option(z.enum(LOG_LEVELS), 'what is logged', 'info'),
});

export type DevicePluginOptions = ConfigOf<typeof DEVICE_PLUGIN_OPTIONS.options>;

export function nodeNameOf({ nodeName }: Pick<DevicePluginOptions, 'nodeName'>): string {
  return nodeName === '' ? hostname().toLowerCase() : nodeName;
}
