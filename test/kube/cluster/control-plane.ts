import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Credentials } from './credentials.ts';
import type { ClusterLayout } from './layout.ts';

export const PORT_NAMES = ['etcd', 'etcdPeer', 'apiServer', 'kubelet'] as const;
export type Ports = Readonly<Record<(typeof PORT_NAMES)[number], number>>;

/** Gates that are not as Kubernetes has them by default: https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/ */
export type FeatureGates = Readonly<Record<string, boolean>>;

export type ControlPlaneOptions = {
  readonly layout: ClusterLayout;
  readonly ports: Ports;
  readonly credentials: Credentials;
  readonly featureGates: FeatureGates;
  /** API groups and versions that are off by default, such as 'resource.k8s.io/v1beta2=true'. */
  readonly runtimeConfig: readonly string[];
};

const HOST = '127.0.0.1';
export const serverUrl = (ports: Ports): string => `https://${HOST}:${ports.apiServer}`;

const gateFlags = (gates: FeatureGates): string[] => {
  const pairs = Object.entries(gates).map(([name, isOn]) => `${name}=${isOn}`);
  return pairs.length === 0 ? [] : [`--feature-gates=${pairs.join(',')}`];
};

export function etcdArgs({ layout, ports }: ControlPlaneOptions): string[] {
  const client = `http://${HOST}:${ports.etcd}`;
  const peer = `http://${HOST}:${ports.etcdPeer}`;
  return [
    `--data-dir=${layout.etcd}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    // Nothing of it outlives the test.
    '--unsafe-no-fsync',
    '--log-level=warn',
  ];
}

export function apiServerArgs({ ports, credentials, featureGates, runtimeConfig }: ControlPlaneOptions): string[] {
  return [
    `--etcd-servers=http://${HOST}:${ports.etcd}`,
    `--bind-address=${HOST}`,
    `--secure-port=${ports.apiServer}`,
    `--tls-cert-file=${credentials.apiServer.certificate}`,
    `--tls-private-key-file=${credentials.apiServer.key}`,
    `--client-ca-file=${credentials.authority}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${credentials.serviceAccountPublicKey}`,
    `--service-account-signing-key-file=${credentials.serviceAccountPrivateKey}`,
    '--service-cluster-ip-range=10.96.0.0/16',
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--allow-privileged=true',
    // It would publish an address that no pod reaches: a loopback address is refused.
    '--endpoint-reconciler-type=none',
    `--kubelet-client-certificate=${credentials.kubeletClient.certificate}`,
    `--kubelet-client-key=${credentials.kubeletClient.key}`,
    '--kubelet-preferred-address-types=Hostname',
    ...runtimeConfig.map((version) => `--runtime-config=${version}`),
    ...gateFlags(featureGates),
  ];
}

export function controllerManagerArgs({ credentials, featureGates }: ControlPlaneOptions): string[] {
  return [
    `--kubeconfig=${credentials.controllerManager}`,
    '--leader-elect=false',
    '--secure-port=0',
    `--service-account-private-key-file=${credentials.serviceAccountPrivateKey}`,
    `--root-ca-file=${credentials.authority}`,
    '--use-service-account-credentials=true',
    '--kube-api-qps=500',
    '--kube-api-burst=1000',
    ...gateFlags(featureGates),
  ];
}

/** Writes the scheduler's configuration; its arguments. */
export async function schedulerArgs(options: ControlPlaneOptions): Promise<string[]> {
  const { layout, credentials, featureGates } = options;
  const path = join(layout.certificates, 'scheduler.json');
  const configuration = {
    apiVersion: 'kubescheduler.config.k8s.io/v1',
    kind: 'KubeSchedulerConfiguration',
    leaderElection: { leaderElect: false },
    // The default of 50 calls a second is less than a test schedules.
    clientConnection: { kubeconfig: credentials.scheduler, qps: 2000, burst: 4000 },
  };
  await writeFile(path, JSON.stringify(configuration));
  return [`--config=${path}`, '--secure-port=0', ...gateFlags(featureGates)];
}
