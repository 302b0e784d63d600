import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../host/run.ts';
import type { FeatureGates, Ports } from './control-plane.ts';
import type { Credentials } from './credentials.ts';
import type { ClusterLayout } from './layout.ts';

/** The one folder of the kubelet that is in its code, whatever --root-dir says. */
export const DEVICE_PLUGINS = '/var/lib/kubelet/device-plugins';

export type KubeletOptions = {
  readonly layout: ClusterLayout;
  readonly node: string;
  readonly ports: Ports;
  readonly credentials: Credentials;
  readonly featureGates: FeatureGates;
  readonly cgroup: string;
};

/** https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/ */
function configuration({ layout, ports, credentials, featureGates, cgroup }: KubeletOptions): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: '127.0.0.1',
    port: ports.kubelet,
    healthzPort: 0,
    readOnlyPort: 0,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: false },
      x509: { clientCAFile: credentials.authority },
    },
    authorization: { mode: 'AlwaysAllow' },
    containerRuntimeEndpoint: `unix://${layout.containerdSocket}`,
    podLogsDir: layout.podLogs,
    volumePluginDir: join(layout.kubelet, 'flex-volumes'),
    failCgroupV1: false,
    failSwapOn: false,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${cgroup}`,
    // There is no kube-proxy: no rule of iptables is needed, and so none is left.
    makeIPTablesUtilChains: false,
    imageGCHighThresholdPercent: 100,
    evictionHard: {
      'memory.available': '50Mi',
      'nodefs.available': '1%',
      'nodefs.inodesFree': '1%',
      'imagefs.available': '1%',
    },
    // 10 s by default: so long does a scheduler not hear what a device plugin says.
    nodeStatusUpdateFrequency: '1s',
    // 1 min by default: so late does it try again where a claim could not be prepared, which happens whenever it asks for the
    // claim before the API server's authorizer of nodes has heard of the pod.
    syncFrequency: '5s',
    clusterDomain: 'cluster.local',
    featureGates,
  };
}

/** Writes what the kubelet reads; its arguments. */
export async function kubeletArgs(options: KubeletOptions): Promise<string[]> {
  const { layout, node, credentials } = options;
  const config = join(layout.kubelet, 'config.json');
  await Promise.all([layout.kubelet, layout.podLogs, DEVICE_PLUGINS].map((path) => mkdir(path, { recursive: true })));
  await writeFile(config, JSON.stringify(configuration(options)));
  return [
    `--config=${config}`,
    `--kubeconfig=${credentials.kubelet}`,
    `--root-dir=${layout.kubelet}`,
    `--cert-dir=${join(layout.kubelet, 'pki')}`,
    `--hostname-override=${node}`,
    '--v=2',
  ];
}

/** So that one folder has everything of the kubelet that a plugin looks for. Goes with the mounts below the cluster's folder. */
export async function mountDevicePlugins({ kubelet }: ClusterLayout): Promise<void> {
  const at = join(kubelet, 'device-plugins');
  await Promise.all([at, DEVICE_PLUGINS].map((path) => mkdir(path, { recursive: true })));
  await run('mount', ['--bind', DEVICE_PLUGINS, at]);
}
